"""AI-Eye: a gateway that keeps a watchful eye on the use of the OpenAI API."""

__version__ = "0.1.0"
