"""Alert rules: bounds on what is measured of queues, and who is told once when they are passed."""
