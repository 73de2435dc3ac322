"""The way of a call: to whom it goes, how often it is tried, and what comes back."""
