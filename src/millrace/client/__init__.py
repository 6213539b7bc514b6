"""The verbs of the HTTP API as methods, for programs and commands outside the server, also against Cloudflare."""
