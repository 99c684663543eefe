"""Dossiers of alerts, built in a process of their own, so that no page waits for another's."""
