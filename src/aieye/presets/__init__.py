"""Presets: predefined configurations that are called by their id or name."""
