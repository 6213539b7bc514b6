"""The pages, as the tests of this folder read them."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.*)$", re.MULTILINE)


class Block(NamedTuple):
    """A fenced piece of code."""

    page: str
    language: str
    text: str


def blocks(page: Path, *languages: str) -> list[Block]:
    """Give the fenced blocks of a page in one of the languages."""
    found = [Block(str(page.relative_to(ROOT)), *match) for match in FENCE.findall(page.read_text())]
    return [block for block in found if block.language in languages]


def section(page: Path, heading: str) -> str:
    """Give the text below a second-level heading."""
    return page.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]


def prose(page: Path) -> str:
    """Give the page without its fenced blocks."""
    return FENCE.sub("", page.read_text())


def inline_code(page: Path) -> list[str]:
    """Give what stands between single backticks."""
    return CODE.findall(prose(page))


def links(page: Path) -> list[str]:
    """Give the targets of the links that stay in the project."""
    return [target for target in LINK.findall(prose(page)) if not target.startswith(("http:", "https:", "mailto:"))]


def anchors(page: Path) -> set[str]:
    """Give the anchors of the page's headings, as the site and the usual viewers make them."""
    return {_slug(heading) for heading in HEADING.findall(prose(page))}


def _slug(heading: str) -> str:
    return re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip())
