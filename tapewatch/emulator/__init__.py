"""A server with the vendor's REST API over a synthetic market or recorded flat files. Imports no client of that API."""
