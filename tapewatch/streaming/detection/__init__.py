"""Online detection: a market's batches in; alerts that open, change and close out.

Storing and sending alerts belongs to `tapewatch.streaming.alerts`.
"""
