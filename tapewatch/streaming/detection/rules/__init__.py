"""Rules of the online detectors: settings, state of each symbol, and the compiled pass over events."""
