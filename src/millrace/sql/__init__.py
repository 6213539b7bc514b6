"""The vault: the only place that knows how a database runs a statement."""
