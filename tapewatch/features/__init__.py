"""Features of the tape, minute by minute: order flow, liquidity, volatility."""
