"""The one composition root: settings in, running parts out. Only here are adapters named."""
