"""The engine room: the only loops."""
