"""What is too old: archived with a checksum, then removed, and put back on demand."""
