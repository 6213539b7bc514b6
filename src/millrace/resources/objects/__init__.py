"""Objects: bytes of any length under a key, in a folder or behind an S3 API."""
