"""The HTTP door: translates requests into calls of the desk, and decides nothing."""
