"""The live side: collectors, the tape in memory, online detection, alerts, gaps, and the way into the lake.

Protocol and decoding belong to `tapewatch.feeds`; processes and settings belong to `orchestration`.
"""
