"""Alerts: committed to the database, logged, and sent to people over channels with retries and limits.

What raises an alert is in `tapewatch.streaming.detection`.
"""
