"""Labels by people: events, the edges that the tape suggests, agreement, decisions."""
