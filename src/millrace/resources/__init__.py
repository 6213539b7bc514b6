"""What belongs to others: their servers, reached through one door."""
