"""Scripts of other libraries, each run by the Python of an environment of its own; they import nothing of this repository."""
