"""The tape: ticks, bars of every clock, streamed batches, coverage."""
