"""Counts the failures that the live side survives: `python -m tests.reliability` in full, the tests in a few rounds."""
