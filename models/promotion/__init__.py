"""Whether a candidate may replace the champion: both are compared on the same days, and each gate says what it measured."""
