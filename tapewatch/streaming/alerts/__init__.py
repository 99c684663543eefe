"""Alerts: committed to the database, logged, and sent over channels with retries and limits."""
