"""What the REST API and the streams share: keys and rate limits, replies, times, JSON fields."""
