"""What instances tell each other beside the stream logs, and count together."""
