"""The demo policy: its synthetic documents, its programmatic teacher, its model and its training. Knows no server."""
