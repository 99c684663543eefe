"""The tape of the current day in memory: ticks in arrival order, the tape's clock, live bars and microstructure rows.

Threads, files and databases belong to the collector.
"""
