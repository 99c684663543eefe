"""The shapes of past anomalies, and the nearest of them to a given one."""
