"""From labels to training sets: weights, purged splits, the joined rows."""
