"""The tape to serve, by symbol and day: synthetic or recorded, with caches and bars."""
