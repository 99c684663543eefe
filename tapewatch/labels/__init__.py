"""Labels: what happened and when it was known. Imports no features, so that nothing leaks."""
