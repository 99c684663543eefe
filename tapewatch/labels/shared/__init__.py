"""Labels that a team shares: revisions that are only added, and what becomes of two people's changes. No I/O."""
