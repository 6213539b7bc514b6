"""docs/howto/testing.md: what it tells people to paste passes when pasted."""

from tests.docs.pages import DOCS, blocks
from tests.testing.pytest_run import counts, run_pytest

BLOCKS = [block.text for block in blocks(DOCS / "howto" / "testing.md", "python")]


def test_the_tests_on_the_page_pass(tmp_path):
    shop, tests, *more = BLOCKS
    (tmp_path / "shop.py").write_text(shop)
    (tmp_path / "test_shop.py").write_text(tests)
    for number, text in enumerate(more):
        (tmp_path / f"test_more_{number}.py").write_text(text)

    output = run_pytest(tmp_path, is_async=True)

    assert counts(output) == {"passed": 5}, output
