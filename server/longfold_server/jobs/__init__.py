"""Jobs in Redis: their records, the scripts that change them, and the bell that tells of changes. Knows no engine and
no HTTP."""
