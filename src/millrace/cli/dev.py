"""`millrace dev`: serve for development, with settings that let everybody on this machine in."""

import argparse
import os
from pathlib import Path

from millrace.cli import serve
from millrace.cli.environment import environment
from millrace.config import Settings
from millrace.http.app import is_loopback
from millrace.wrangler.finding import find_wrangler
from millrace.wrangler.reading import has_environment

LOCAL = "local"


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; what the environment and the flags say goes before what is usual here."""
    if arguments.reload and not arguments.dry_run:
        from millrace.cli.reload import run_reloading

        return run_reloading()
    environ = environment()
    os.environ.setdefault("CLOUDFLARE_ENV", LOCAL)
    if environ["CLOUDFLARE_ENV"] == LOCAL:
        if is_loopback(arguments.host or environ.get("HOST") or Settings().host):
            os.environ.setdefault("AUTH_MODE", LOCAL)
        if arguments.environment is None and _has_section(arguments.config):
            arguments.environment = LOCAL
    arguments.reload = False
    return serve.run(arguments)


def _has_section(config: str | None) -> bool:
    """Say whether the wrangler file has a section for this environment; '' is no file."""
    found = find_wrangler(Path.cwd())[0] if config is None else Path(config) if config else None
    return found is not None and has_environment(found, LOCAL)
