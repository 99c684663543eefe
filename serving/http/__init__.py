"""What every operation shares: who may call it, how often, its errors, headers and log."""
