"""The latest features of each key, for serving: in SQLite, PostgreSQL or Redis."""
