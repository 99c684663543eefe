"""Online detection: turns a market's batches into alerts that open, change and end."""
