"""Runs of the platform's jobs from the command line: plan, progress and outcome."""
