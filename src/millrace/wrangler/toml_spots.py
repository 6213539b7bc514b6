"""The lines of the keys, tables and elements in TOML."""

import re
import tomllib

from millrace.wrangler.places import Spot, line_counter

BLANK = re.compile(r"(?:\s|#[^\n]*)*")
KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:\\.|[^"\\])*"|'[^']*'""")
# The quotation marks that end a long string may follow up to two that belong to it.
VALUE = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?'{3,5}|"(?:\\.|[^"\\])*"|'[^']*'|[^,\]}#\n]+''',
    re.DOTALL,
)
BETWEEN = re.compile(rf"{BLANK.pattern},?{BLANK.pattern}")


def toml_spots(text: str) -> Spot:
    """Give the spots of a text that is known to be TOML."""
    return _Scanner(text).document()


class _Scanner:
    """A walk over the text. It refuses nothing, for tomllib has read the text before."""

    def __init__(self, text: str) -> None:
        self.text, self.at = text, 0
        self.line_at = line_counter(text)

    def document(self) -> Spot:
        root = table = Spot(0)
        self.pass_over(BLANK)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header(root)
            else:
                self.pair(table)
            self.pass_over(BLANK)
        return root

    def header(self, table: Spot) -> Spot:
        line, brackets = self.line_at(self.at), 2 if self.text.startswith("[[", self.at) else 1
        self.at += brackets
        *outer, name = self.names()
        self.at += brackets
        for step in outer:
            table = _inside(table, step, line)
            table = table.inner.get(len(table.inner) - 1, table)  # an array's newest element goes on
        spot = _inside(table, name, line)
        if brackets == 1:
            spot.line = line
            return spot
        return spot.inner.setdefault(len(spot.inner), Spot(line))

    def pair(self, table: Spot) -> None:
        line = self.line_at(self.at)
        *outer, name = self.names()
        self.at += 1  # the equals sign
        self.pass_over(BLANK)
        for step in outer:
            table = _inside(table, step, line)
        self.value(_inside(table, name, line))

    def names(self) -> list[str]:
        found = []
        while True:
            self.pass_over(BLANK)
            name = self.pass_over(KEY)
            found.append(tomllib.loads(f"name = {name}")["name"] if name[0] in "\"'" else name)
            self.pass_over(BLANK)
            if self.text[self.at] != ".":
                return found
            self.at += 1

    def value(self, spot: Spot) -> None:
        if self.text[self.at] not in "[{":
            self.pass_over(VALUE)
            return
        end = "]" if self.text[self.at] == "[" else "}"
        self.at += 1
        self.pass_over(BLANK)
        while self.text[self.at] != end:
            if end == "}":
                self.pair(spot)
            else:
                self.value(spot.inner.setdefault(len(spot.inner), Spot(self.line_at(self.at))))
            self.pass_over(BETWEEN)
        self.at += 1

    def pass_over(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return match[0]


def _inside(table: Spot, name: str, line: int) -> Spot:
    return table.inner.setdefault(name, Spot(line))
