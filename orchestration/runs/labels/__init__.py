"""People's labels from the command line, alone and as a team."""
