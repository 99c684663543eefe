"""The spool: streamed batches as small Arrow files until they are in the lake, and quarantined text beside them."""
