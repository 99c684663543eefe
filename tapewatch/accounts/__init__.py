"""The people and programs that use the platform: passwords, second factors, sessions, tokens and roles."""
