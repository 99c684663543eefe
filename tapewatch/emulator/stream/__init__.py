"""The vendor's WebSocket over a tape: connections, subscriptions, messages, pace, and their faults."""
