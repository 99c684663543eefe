"""Commands of features, labels, models, and what these find."""
