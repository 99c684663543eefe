"""Commands of services, people and keys."""
