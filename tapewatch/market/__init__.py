"""The domain's nouns: instruments, tables, trade conditions. Pure: no I/O, no clock."""
