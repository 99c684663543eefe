"""Where the platform keeps what it knows: the lake (Parquet) and the database (SQLAlchemy)."""
