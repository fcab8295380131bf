"""Who asks: accounts, passwords, logins and their tokens, API keys. Knows no web and no SQL."""
