"""The lake: one Parquet object per table and partition, replaced as a whole."""
