"""From the spool into the lake: waiting batches merged with what a partition holds, each tick once."""
