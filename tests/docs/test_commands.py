"""Every command on the pages exists."""

import argparse
import re
import shlex
from collections.abc import Iterator

import pytest

from millrace.cli.arguments import make_parser
from tests.docs.pages import DOCS, PAGES, blocks, inline_code

COMMAND = re.compile(r"^(?:export )?(?:\w+=\S+ +)*(?:\.venv/bin/)?(millrace|ctx) +(.*)$")
MORE = "…"
SERVING = ("millrace serve", "millrace dev")  # whose flags are settings


def _commands() -> list[str]:
    """Give what the pages tell people to type after `millrace`."""
    found = set()
    for page in PAGES:
        lines = [line for block in blocks(page, "bash") for line in block.text.replace("\\\n", " ").splitlines()]
        for line in [*lines, *inline_code(page)]:
            match = COMMAND.match(line)
            if match:
                found.add(match[2].strip())
    return sorted(found)


def _subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def _unknown(command: str) -> str | None:
    """Give the first word of the command that the parser does not know."""
    parser = make_parser("millrace")
    for word in shlex.split(command, comments=True):
        if word == MORE:
            return None
        subcommands = _subcommands(parser)
        if word.startswith("-"):
            if word.split("=")[0] not in parser._option_string_actions:
                return word
        elif subcommands:
            if word not in subcommands:
                return word
            parser = subcommands[word]
    return None


@pytest.mark.parametrize("command", _commands())
def test_a_command_on_a_page_exists(command: str) -> None:
    assert _unknown(command) is None


def _leaves(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    for child in _subcommands(parser).values():
        if _subcommands(child):
            yield from _leaves(child)
        else:
            yield child


@pytest.mark.parametrize("leaf", list(_leaves(make_parser("millrace"))), ids=lambda leaf: leaf.prog)
def test_a_command_and_its_flags_are_on_the_page_of_commands(leaf: argparse.ArgumentParser) -> None:
    page = (DOCS / "commands.md").read_text()
    [row] = [line for line in page.splitlines() if re.match(rf"\| `{leaf.prog}[ `]", line)]
    of_all = page.split("## Flags of all")[1] if leaf.prog not in SERVING else (DOCS / "settings.md").read_text()
    flags = [flag for flag in leaf._option_string_actions if flag.startswith("--") and flag != "--help"]

    assert [flag for flag in flags if f"`{flag}`" not in row + of_all] == []


def test_the_pages_name_commands() -> None:
    assert len(_commands()) > 5
    assert _unknown("serve --no-such-flag") == "--no-such-flag"
    assert _unknown("no-such-command") == "no-such-command"
