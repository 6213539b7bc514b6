"""A token bucket as a value: how much may be taken now, and when more."""
