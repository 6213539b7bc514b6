"""Ways out for messages: SMTP, HTTP and files for e-mails; Twilio and files for text messages."""
