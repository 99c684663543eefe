"""Storage: the lake (Parquet), the spool (Arrow files not yet in the lake) and the database (SQLAlchemy)."""
