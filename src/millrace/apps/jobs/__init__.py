"""The jobs application: an HTTP job queue, uploads and runs.

Only `millrace.cli.applications` imports this package.
"""
