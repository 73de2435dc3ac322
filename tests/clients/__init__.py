"""One saved pipeline, called from every kind of client."""
