"""Families of features beside the detector's: order flow, liquidity, volatility, and indicators of bars."""
