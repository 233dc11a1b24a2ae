"""Who may ask and how much: API keys, their limits, what tenants have used and which documents are theirs. Knows no
routes and no jobs."""
