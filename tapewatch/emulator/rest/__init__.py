"""The vendor's REST API over a tape: endpoints, pages, JSON rows, reference data, and faults."""
