"""A market's collector: receives, detects, builds live rows and keeps batches, each in a thread of its own."""
