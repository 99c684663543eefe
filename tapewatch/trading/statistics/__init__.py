"""How good a strategy is, and how sure that is: performance, selection bias, overfitting. Pure functions of arrays."""
