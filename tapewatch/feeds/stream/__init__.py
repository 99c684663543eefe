"""The WebSocket: one connection per market, kept alive, whose frames go onto a bounded queue.

Nothing here parses events (`decode`) or builds bars (`tapewatch.streaming`).
"""
