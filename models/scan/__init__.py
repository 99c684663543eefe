"""The scan: causal statistics of five-second bins, each calibrated to how rarely its peaks occur on ordinary days."""
