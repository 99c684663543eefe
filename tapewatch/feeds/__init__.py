"""The vendor's protocol: flat files, REST, the WebSocket stream, and what each plan allows.

The interface that every source implements (`source`), its errors, and what spans several channels: ranges and probes.
Storing what was fetched belongs to `tapewatch.store`; deciding what to fetch belongs to the callers.
"""
