"""The REST API: calls, pages and budgets, and the trades, quotes, bars and reference data that they return.

What a plan may ask for is in `tapewatch.feeds.plans`.
"""
