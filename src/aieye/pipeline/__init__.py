"""Pipelines: prompts, functions, presets and other pipelines, composed, checked and run."""
