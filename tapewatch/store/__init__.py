"""Storage: the lake (Parquet), the spool (Arrow batches on their way there) and the database (SQLAlchemy).

Table definitions are in `tapewatch.market`.
"""
