"""The dashboard: pages that show queues and dead letters, and let an operator act."""
