"""What the live side survives, counted: `python -m tests.reliability` in full, the tests beside it in short."""
