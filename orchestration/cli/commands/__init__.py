"""The commands of `tapewatch`, a module a subject. Their work is done elsewhere; imports that take time are inside them."""
