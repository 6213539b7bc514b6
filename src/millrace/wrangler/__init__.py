"""Wrangler's configuration files as plain values: wrangler.json, wrangler.jsonc and wrangler.toml.

Field paths and sentences are wrangler's own, so that what its users know or search for fits here, too.
"""
