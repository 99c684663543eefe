"""Random one-operator changes to the library, each held against the tests of its room: `make mutation`."""
