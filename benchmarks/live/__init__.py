"""The live stream: latency and throughput."""
