"""The REST API: calls, rate limits and pages, and the trades, quotes, bars and reference data that they return."""
