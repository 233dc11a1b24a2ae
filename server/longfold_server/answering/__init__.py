"""Answering one job: ingest, decompose, route, read, answer, cite. Knows engines and documents through their seams, and
no HTTP."""
