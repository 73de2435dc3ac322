"""JSON and event streams for programs: OpenAI's API, the originals' routes, the administrators' API."""
