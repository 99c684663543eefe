"""Commands of the tape and its stores."""
