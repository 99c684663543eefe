"""Features against their usual size at this time of day and at today's level."""
