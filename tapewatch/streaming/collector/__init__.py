"""A market's collector: receives, detects, builds bars and keeps batches, each in a thread of its own.

What the threads compute is in the sibling packages.
"""
