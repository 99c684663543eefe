"""Detectors: what they find, their speed and their explanations."""
