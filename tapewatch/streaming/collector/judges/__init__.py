"""What judges the tape within a collector: the rules, the scan, and the champion of minutes with its challenger."""
