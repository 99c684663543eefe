"""Sources of market data: the vendor's flat files, REST API and WebSocket stream, and the limits of its plans."""
