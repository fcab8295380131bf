"""Where the events of answers are kept to be followed: one log a generation."""
