"""The recipe's mathematics: torch and nothing else. Knows no engine, no reward rule and no prompt."""
