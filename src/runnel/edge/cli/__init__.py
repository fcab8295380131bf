"""The command `runnel`: thin commands over the same parts as the doors."""
