"""Text out of what was uploaded: PDF, HTML, JSON and plain text."""

import re
from io import BytesIO
from mimetypes import guess_type

from millrace.agent.html_text import text_of_html
from millrace.edge_jobs.job import Content

PDF = "application/pdf"


class NoText(ValueError):
    """The object has a form that no text can be read from."""


def text_of(content: Content, key: str) -> str:
    """Read the text.

    What the object begins with counts before its content type, and that before the ending of its key.

    Raises:
        NoText: it is no PDF, HTML, JSON or text, or a PDF that is broken or locked.
    """
    text = _read(content, _kind(content, key))
    return text.encode("utf-8", "replace").decode()  # PDFs may spell half characters, which JSON has not


def _read(content: Content, kind: str) -> str:
    if kind == PDF:
        return _of_pdf(content.body)
    if kind in ("text/html", "application/xhtml+xml"):
        return text_of_html(_decoded(content))
    if kind.startswith("text/") or kind in ("application/json", "application/xml") or kind.endswith(("+json", "+xml")):
        return _decoded(content)
    raise NoText(f"no text can be read from {kind}; expected a PDF, HTML, JSON or text")


def _kind(content: Content, key: str) -> str:
    if content.body[:1024].lstrip().startswith(b"%PDF-"):
        return PDF
    told = content.content_type.partition(";")[0].strip().lower()
    if told in ("", "application/octet-stream", "binary/octet-stream"):
        return guess_type(key)[0] or "application/octet-stream"
    return told


def _of_pdf(body: bytes) -> str:
    from pypdf import PdfReader  # noqa: PLC0415 - it takes 0.2 s
    from pypdf.errors import PyPdfError  # noqa: PLC0415

    try:
        pages = [page.extract_text() for page in PdfReader(BytesIO(body)).pages]
    except PyPdfError as error:
        raise NoText(f"the PDF cannot be read: {error}") from None
    return "\n\n".join(page.strip() for page in pages).strip()


def _decoded(content: Content) -> str:
    found = re.search(r"charset=\"?([\w.:-]+)", content.content_type, re.IGNORECASE)
    try:
        return content.body.decode(found[1] if found else "utf-8-sig", "replace")
    except (LookupError, UnicodeError):  # no such encoding, or one that is for other things
        return content.body.decode("utf-8-sig", "replace")
