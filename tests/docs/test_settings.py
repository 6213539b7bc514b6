"""docs/settings.md knows every setting, variable and flag."""

import argparse
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from millrace.cli.arguments import make_parser
from millrace.config import Settings, read_settings
from tests.docs.pages import DOCS

PAGE = DOCS / "settings.md"
SETTINGS = msgspec.structs.fields(Settings)


class Asked(dict[str, str]):
    """An environment that remembers what it was asked for."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        super().__init__(pairs)
        self.names: set[str] = set()

    def get(self, key: str, default: Any = None) -> Any:
        self.names.add(key)
        return super().get(key, default)


def _row(setting: str) -> str:
    return next((line for line in PAGE.read_text().splitlines() if line.startswith(f"| `{setting}` |")), "")


def _parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for child in action.choices.values():
                yield from _parsers(child)


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_every_setting_has_a_row_with_its_default(setting: msgspec.structs.FieldInfo) -> None:
    row = _row(setting.name)
    shown = "none" if setting.default is None else "on" if setting.default is True else f"`{setting.default}`"

    assert row, f"{setting.name} is not in docs/settings.md"
    assert shown in row.split("|")[4]


def test_every_variable_that_is_read_is_on_the_page() -> None:
    environ = Asked(("AUTH_MODE", "local"), ("CLOUDFLARE_ENV", "local"))
    read_settings(environ, {})

    assert len(environ.names) > 5
    assert [name for name in sorted(environ.names) if f"`{name}`" not in PAGE.read_text()] == []


def test_every_flag_of_serve_is_on_the_page() -> None:
    [serve] = [parser for parser in _parsers(make_parser("millrace")) if parser.prog == "millrace serve"]
    flags = {flag for action in serve._actions for flag in action.option_strings if flag.startswith("--")} - {"--help"}

    assert [flag for flag in sorted(flags) if f"`{flag}`" not in PAGE.read_text()] == []


def test_every_variable_that_help_names_is_on_the_page() -> None:
    helps = [action.help or "" for parser in _parsers(make_parser("millrace")) for action in parser._actions]
    words = {word.strip("(),.;") for text in helps for word in text.split()}
    names = {word for word in words if "_" in word and word.isupper()}

    assert [name for name in sorted(names) if f"`{name}`" not in PAGE.read_text()] == []
