"""What the detectors find, why, and how far the tape drifts from their training."""
