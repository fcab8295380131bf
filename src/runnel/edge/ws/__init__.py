"""WebSockets: one connection loop, and what it needs."""
