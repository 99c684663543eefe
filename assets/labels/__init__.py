"""Labels by formula, by people and by rules, and training sets."""
