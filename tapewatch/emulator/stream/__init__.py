"""The vendor's WebSocket streams over a tape: connections, subscriptions, messages, speed, and faults."""
