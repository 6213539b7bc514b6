"""Read-only SQL for an account's admin over published views."""
