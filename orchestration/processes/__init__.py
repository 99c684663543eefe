"""The long-running processes: what starts them, supervises them, and reports their state."""
