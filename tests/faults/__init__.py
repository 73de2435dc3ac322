"""The gateway against faults: a live server between a scripted provider and clients that misbehave."""
