"""The vendor's plans: what each allows, on which address, and whether the settings fit it.

No requests are made here; `tapewatch.feeds.probe` makes them.
"""
