"""Who may do what: users, passwords, second factors, sessions and API keys, in the operational database."""
