"""Pure mappings from events to the frames of one wire format, a file each."""
