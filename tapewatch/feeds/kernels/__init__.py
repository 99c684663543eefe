"""What the compiled readers of files, REST pages and frames share: pointers and numbers in text."""
