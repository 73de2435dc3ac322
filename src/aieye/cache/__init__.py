"""Stored answers: their keys, the two tiers that hold them, and the two forms they are given in."""
