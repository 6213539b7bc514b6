"""The Python client of the jobs application."""
