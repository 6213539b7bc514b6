"""The tenants: applications that stand on the platform and know nothing of each other."""
