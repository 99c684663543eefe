"""What operators do with a database: create, copy, move, back up, thin out, and see its state."""
