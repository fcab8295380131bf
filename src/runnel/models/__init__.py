"""Which models there are and how they are spoken to. The only room that knows LangChain."""
