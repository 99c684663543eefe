"""What clients send and receive: messages, Arrow streams, examples and the OpenAPI description."""
