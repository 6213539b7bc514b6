"""What the commands' parsers share: flags of the server, numbers within bounds. Imports nothing that takes time."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001 - it has no public name


def add_verb(verbs: Commands, name: str, run: str, does: str) -> argparse.ArgumentParser:
    """Add a command that speaks to a server; `refuse` ends it as wrongly used, for rules that argparse has not."""
    verb = verbs.add_parser(name, help=does, description=f"{does[0].upper()}{does[1:]}.", allow_abbrev=False)
    verb.set_defaults(run=run, refuse=verb.error)
    add_server(verb)
    verb.add_argument("--json", action="store_true", help="print JSON")
    return verb


def add_server(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where the server is and which key it is shown."""
    parser.add_argument("--url", type=_url, help="server (MILLRACE_URL, CTX_URL, http://127.0.0.1:8787)")
    parser.add_argument("--token", help="key (MILLRACE_TOKEN, CHITTY_ID_TOKEN)")


def add_number(
    parser: argparse.ArgumentParser, flag: str, low: int, high: int, help: str, default: int | None = None
) -> None:
    """Add a flag for a whole number from `low` to `high`."""
    parser.add_argument(flag, metavar="N", type=_whole_number(low, high), default=default, help=help)


def _url(text: str) -> str:
    if text.startswith(("http://", "https://")):
        return text
    raise argparse.ArgumentTypeError(f"it is {text!r}; expected one such as http://127.0.0.1:8787")


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if text.isascii() and text.isdigit() and len(text) < 18 and low <= int(text) <= high:
            return int(text)
        raise argparse.ArgumentTypeError(f"it is {text!r}; expected a whole number from {low} to {high}")

    return read


def add_place(parser: argparse.ArgumentParser, verb: str) -> None:
    """Add the flags that name a store; `verb` is what is done to it."""
    parser.add_argument("--data", type=Path, metavar="DIR", help=f"{verb} this data directory instead of over HTTP")
    parser.add_argument("--store", metavar="URL", help=f"{verb} this database instead of over HTTP: postgresql://…")
