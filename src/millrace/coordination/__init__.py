"""What applications share beyond messages: locks, claims, states, steps, buckets, the breaker, feeds of changes."""
