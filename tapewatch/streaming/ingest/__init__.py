"""Merges the spool's batches into the lake."""
