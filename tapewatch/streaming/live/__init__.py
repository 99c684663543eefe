"""The current day in memory: ticks in order of arrival, the tape's clock, live bars and microstructure rows."""
