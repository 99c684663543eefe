"""From anomalies to decisions: signals, sizing, risk, one engine for backtest and paper money. No real orders."""
