"""Runs of the platform's jobs from the command line: planning, progress, and what came out."""
