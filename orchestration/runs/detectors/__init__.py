"""Work of registered detectors from the command line: scores, reasons, replays, the look-ahead check."""
