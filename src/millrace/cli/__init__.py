"""The front door of a terminal."""
