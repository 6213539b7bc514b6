"""Pages hold together: links lead somewhere, code is code, files are files."""

import tomllib
from pathlib import Path

import pytest

from millrace import App
from millrace.wrangler.reading import read_wrangler
from tests.docs.pages import DOCS, NAMES, PAGES, ROOT, Block, anchors, blocks, links

PYTHON = [block for page in PAGES for block in blocks(page, "python")]
TOML = [block for page in PAGES for block in blocks(page, "toml")]


def _named(block: Block) -> str:
    return f"{block.page}: {block.text.strip().splitlines()[0]}"


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_internal_links_lead_to_a_file_and_a_heading(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link}: {target.name} has no such heading"


def test_pages_of_the_site_link_to_pages_of_the_site_only() -> None:
    outside = [
        (page.name, link)
        for page in PAGES
        if page.is_relative_to(DOCS)
        for link in links(page)
        if not (page.parent / link.partition("#")[0]).resolve().is_relative_to(DOCS)
    ]

    assert outside == []


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_a_page_has_one_title(page: Path) -> None:
    titles = [line for line in page.read_text().splitlines() if line.startswith("# ")]
    in_blocks = [line for block in blocks(page, "bash", "python", "toml", "") for line in block.text.splitlines()]

    assert len([title for title in titles if title not in in_blocks]) == 1


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    navigation = (ROOT / "zensical.toml").read_text()

    missing = [page.name for page in DOCS.rglob("*.md") if f'"{page.relative_to(DOCS)}"' not in navigation]

    assert missing == []


def test_the_site_fetches_no_fonts() -> None:
    site = tomllib.loads((ROOT / "zensical.toml").read_text())

    assert site["project"]["theme"]["font"] is False


@pytest.mark.parametrize("block", PYTHON, ids=_named)
def test_a_python_block_compiles(block: Block) -> None:
    compile(block.text, block.page, "exec")


@pytest.mark.parametrize("block", [block for block in PYTHON if "app = App(" in block.text], ids=_named)
def test_a_program_on_a_page_is_an_app(block: Block) -> None:
    names: dict[str, object] = {}

    exec(block.text, names)

    assert isinstance(names["app"], App)


@pytest.mark.parametrize("block", TOML, ids=_named)
def test_a_wrangler_file_on_a_page_is_read_without_complaint(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "wrangler.toml"
    path.write_text(block.text)

    assert read_wrangler(path).warnings == ()


def test_the_readme_shows_the_example_as_it_is() -> None:
    shown = blocks(ROOT / "README.md", "python")[1].text

    assert shown in (ROOT / "examples" / "hello.py").read_text()
