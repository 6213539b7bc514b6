"""What can be typed: commands, arguments and flags. Imports nothing that takes time, so that help is quick."""

import argparse
from pathlib import Path
from typing import TypeAlias

from millrace import __version__


def make_parser(program: str) -> argparse.ArgumentParser:
    """Make the parser; the chosen command stands in `run`, as `module:function` below `millrace.cli`."""
    parser = argparse.ArgumentParser(
        prog=program, description="A durable message queue that speaks Cloudflare Queues' own language."
    )
    parser.add_argument("--version", action="version", version=f"millrace {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_serve(commands)
    _add_queues(commands)
    _add_keys(commands)
    return parser


Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def _add_serve(commands: Commands) -> None:
    serve = commands.add_parser(
        "serve",
        help="serve queues from a data directory",
        description="Serve queues from a data directory until SIGTERM or Ctrl-C; a second one does not wait.",
    )
    serve.set_defaults(run="serve:run")
    serve.add_argument("--host", help="address to listen on (HOST, 127.0.0.1)")
    serve.add_argument("--port", type=int, help="port to listen on, 0 for a free one (PORT, 8787)")
    serve.add_argument("--data", type=Path, metavar="DIR", help="data directory (DATA_DIR, data)")
    serve.add_argument("--config", type=Path, metavar="FILE", help="wrangler.toml, .json or .jsonc with queues")
    serve.add_argument("--env", dest="environment", metavar="NAME", help="named environment of the file")
    serve.add_argument("--app", metavar="MODULE:NAME", help="handlers to run: package.module:name or path.py:name")
    serve.add_argument("--reload", action="store_true", help="restart when a Python file changes (development)")
    serve.add_argument("--show-key", action="store_true", help="print ADMIN_TOKEN in the example line (development)")


def _add_remote(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--url", help="server (MILLRACE_URL, CTX_URL, http://127.0.0.1:8787)")
    parser.add_argument("--token", help="key (MILLRACE_TOKEN, CHITTY_ID_TOKEN)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def _add_queues(commands: Commands) -> None:
    pass


def _add_keys(commands: Commands) -> None:
    pass
