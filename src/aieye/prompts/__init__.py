"""Prompts: texts with variables, kept as immutable versions."""
