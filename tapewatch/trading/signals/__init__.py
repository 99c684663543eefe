"""From alerts and strategies to signals: what is known at each, its confidence from earlier bets, its risk and its size."""
