"""What every web service of the platform checks before it answers."""
