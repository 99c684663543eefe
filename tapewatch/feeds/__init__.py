"""Everything that speaks the vendor's protocol: flat files, REST, plans."""
