"""Numbered steps of the schema. A released step is never edited: the next one corrects it."""
