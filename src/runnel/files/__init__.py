"""What files are, by their content, and where their bytes are kept."""
