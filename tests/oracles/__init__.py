"""Other libraries as second sources, each in an environment of its own: `make oracles`."""
