"""The page of messages in the dashboard: the list, one message with its timeline and its review, the failures."""
