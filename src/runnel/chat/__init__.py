"""Decides: what asking, following and ending an answer mean. Knows no web, Redis, SQL, LangChain."""
