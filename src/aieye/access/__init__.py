"""Who may call, and the secrets we hold: users, sessions, public tokens, providers and their keys."""
