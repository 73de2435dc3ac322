"""A long run of mixed calls against the real server, looked at over time and at its end."""
