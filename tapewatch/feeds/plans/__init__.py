"""The vendor's plans: what each allows, the addresses of its streams, and a check of the settings against it."""
