"""The figures that the docs quote. Each script prints a ratio against a named peer, measured in the same run."""
