"""The agent: takes jobs over HTTP, reads what they name, stores the result, settles."""
