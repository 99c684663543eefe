"""The vendor's REST endpoints over a tape: ticks, bars, futures, reference data, and their faults."""
