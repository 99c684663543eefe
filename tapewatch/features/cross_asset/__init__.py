"""Features of a symbol among the others of its market: correlation, beta, residuals, lead and lag, pairs. No I/O."""
