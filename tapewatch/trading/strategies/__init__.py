"""What proposes bets. Each strategy is a function of what was known and returns proposals; see `proposals.py`."""
