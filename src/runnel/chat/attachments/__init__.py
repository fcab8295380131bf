"""Files that people give with their questions: taken in, kept, and shown to models."""
