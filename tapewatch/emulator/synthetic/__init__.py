"""The synthetic market: instruments, prices, order flow and labelled anomalies, all from one seed."""
