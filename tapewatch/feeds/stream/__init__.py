"""The WebSocket stream: one connection per market, kept alive, whose frames go into a bounded queue."""
