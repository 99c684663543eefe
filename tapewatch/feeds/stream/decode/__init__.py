"""Stream frames to table rows: a compiled scanner for the common case, a careful reader for everything else.

Connections and subscriptions are one level up.
"""
