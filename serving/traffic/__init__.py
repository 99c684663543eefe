"""Logged requests, and what other versions make of them. What answers requests is in operations/."""
