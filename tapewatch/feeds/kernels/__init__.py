"""Compiled code that the scanners of files, REST pages and frames share: pointers, numbers, JSON text."""
