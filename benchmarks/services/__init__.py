"""The scoring service and the dashboard."""
