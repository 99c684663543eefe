"""Reads the vendor's CSV flat files from a folder or URL into sorted frames and quarantined lines, in constant memory."""
