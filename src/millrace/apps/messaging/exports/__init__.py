"""Files made of messages, or of the audit trail: written in the background, fetched by link, removed after their time."""
