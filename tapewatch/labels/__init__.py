"""Labels: what happened, when it was known, and who may learn from it. Knows no features, so that nothing leaks."""
