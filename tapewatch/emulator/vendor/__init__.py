"""What all of the vendor's endpoints share: keys and rate limits, reply envelopes, request parsing, reference tables."""
