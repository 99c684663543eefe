"""Proof that a computation uses nothing of the future: it cuts, replaces and delays what comes later, and compares."""
