"""Features by minute, by bin and of the market, and the feature store."""
