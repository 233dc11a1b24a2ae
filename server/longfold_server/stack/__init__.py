"""The embedded stack: Redis, vLLM and the service as supervised children of one process. Knows no request and no
model's wording."""
