"""The service that scores, packaged, and its requests scored again."""
