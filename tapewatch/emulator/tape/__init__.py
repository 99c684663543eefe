"""The tape that is served, one symbol and day at a time: synthetic or recorded, with caches and base bars."""
