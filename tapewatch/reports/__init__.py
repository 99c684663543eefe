"""Reports for people: self-contained pages made from plain frames."""
