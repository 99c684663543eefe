"""The trading engine and the statistics of backtests."""
