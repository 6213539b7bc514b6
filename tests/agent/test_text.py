import time

import pytest

from millrace.agent.text import NoText, text_of
from millrace.edge_jobs import Content
from tests.agent.pdf import make_pdf


def _text(body: bytes, content_type: str = "", key: str = "uploads/acme/run-1/file") -> str:
    return text_of(Content(body=body, content_type=content_type), key)


def test_a_pdf_gives_the_text_of_its_pages() -> None:
    """S2-20."""
    text = _text(make_pdf("The first page", "The second page"), "application/pdf")

    assert text == "The first page\n\nThe second page"


@pytest.mark.parametrize("told", ["", "text/plain", "application/octet-stream"])
def test_a_pdf_is_known_by_how_it_begins(told: str) -> None:
    assert _text(make_pdf("A page"), told) == "A page"


@pytest.mark.parametrize("body", [b"%PDF-1.4\nand then nothing", b"%PDF-1.7"])
def test_a_broken_pdf_has_no_text(body: bytes) -> None:
    with pytest.raises(NoText, match="the PDF cannot be read"):
        _text(body, "application/pdf")


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        (b"plain", "text/plain", "plain"),
        ("\ufeffgr\u00fc\u00dfe".encode(), "text/markdown", "grüße"),
        ("grüße".encode("latin-1"), 'text/plain; charset="iso-8859-1"', "grüße"),
        (b"\xffbroken", "text/plain", "\ufffdbroken"),
        (b"plain", "text/plain; charset=nobody-knows", "plain"),
        (b"plain", "text/plain; charset=undefined", "plain"),
        (b'{"a": 1}', "application/json", '{"a": 1}'),
        (b"<a/>", "application/atom+xml", "<a/>"),
    ],
)
def test_text_is_decoded_as_it_says(body: bytes, content_type: str, text: str) -> None:
    assert _text(body, content_type) == text


def test_html_gives_what_a_reader_would_see() -> None:
    page = b"""<!doctype html><html><head><title>Mills</title><style>p { color: red }</style></head>
    <body><h1>Water &amp; wheels</h1><p>One <b>bold</b>
    word.<p>Two<br>lines.<script>alert("no")</script><ul><li>first<li>second</ul></body></html>"""

    text = _text(page, "text/html; charset=utf-8")

    assert text == "Mills\nWater & wheels\nOne bold\nword.\nTwo\nlines.\nfirst\nsecond"


def test_html_is_read_as_a_browser_reads_it() -> None:
    page = b"""<p class="a>b" don't>3 < 4<!-- <p>no --><script>if (a<b) {c="</p>"}</script/> &lt;b&gt; <![CDATA[no]]>&#65;&#x42;<p title='"""

    assert _text(page, "text/html") == "3 < 4\n<b> AB"


@pytest.mark.parametrize("piece", [b"<!-- ", b"<!", b"<a b='", b"<a x=", b"<", b"</", b"&#9", b" \n", b"<script>"])
def test_html_that_never_ends_does_not_take_longer_than_its_length_allows(piece: bytes) -> None:
    began = time.monotonic()

    _text(piece * (300_000 // len(piece)), "text/html")

    assert time.monotonic() - began < 2  # where time grows with the square it takes a minute


@pytest.mark.parametrize(("key", "text"), [("a/b.html", "hello"), ("a/b.txt", "<p>hello"), ("a/b.md", "<p>hello")])
def test_the_key_tells_where_no_content_type_does(key: str, text: str) -> None:
    assert _text(b"<p>hello", "binary/octet-stream", key) == text


@pytest.mark.parametrize(("content_type", "key"), [("image/png", "a/b.txt"), ("", "a/b.png"), ("", "a/b")])
def test_what_is_no_text_is_refused(content_type: str, key: str) -> None:
    with pytest.raises(NoText, match="no text can be read from"):
        _text(b"\x89PNG", content_type, key)
