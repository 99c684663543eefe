"""What assets share: their checks, descriptions, configuration, partitions, and what is shown of a table."""
