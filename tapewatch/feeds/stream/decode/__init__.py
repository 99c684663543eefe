"""Decodes stream frames into table rows: a compiled scanner for the common case, a careful reader for everything else."""
