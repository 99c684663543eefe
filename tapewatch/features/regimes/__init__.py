"""The state of a symbol's market: calm to turbulent, trending or not. Probabilities are filtered, never smoothed. No I/O."""
