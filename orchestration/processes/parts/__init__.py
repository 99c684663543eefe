"""The parts of a deployment as single processes, each in a container of its own, and the checks before they start."""
