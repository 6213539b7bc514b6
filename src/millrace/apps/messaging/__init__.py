"""The messaging application: e-mails, text messages, exports and clean-ups as jobs over a queue."""
