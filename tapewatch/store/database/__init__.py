"""The operational database on SQLite or PostgreSQL: rows, migrations, retention, backup and move."""
