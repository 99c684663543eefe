"""The operations of the scoring service, thin over its parts."""
