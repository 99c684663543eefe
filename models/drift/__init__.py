"""How far today's data and scores are from those that a detector was fitted on."""
