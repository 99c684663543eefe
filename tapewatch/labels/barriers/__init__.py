"""Events and what became of them: triple barriers, horizons, meta-labels."""
