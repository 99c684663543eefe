"""The long-running processes: their commands, supervision and state."""
