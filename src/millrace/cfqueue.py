"""The old client of Cloudflare Queues for agents: deprecated, kept for those who move."""
