"""Fits a scan: on whole days, and on copies of them with anomalies in them. Live collectors and services need nothing of it."""
