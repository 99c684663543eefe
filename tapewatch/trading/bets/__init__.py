"""From signals to orders: bets are opened by limits and closed by the barriers on their own path. Backtest and live path share it."""
