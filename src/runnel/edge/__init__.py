"""The doors: HTTP, the command line, and what they share. Only here are FastAPI and typer known."""
