"""Commands of backtests and paper money."""
