"""A detector for any single series: it needs no training set, and a row costs the same after a million rows as after ten."""
