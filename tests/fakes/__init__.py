"""Fakes that speak real protocols over real sockets; tests assert on the fakes' own logs."""
