"""A browser's part in the tests of the dashboard: cookies, forms with their hidden fields, pages that are well-formed."""

import re
import urllib.error
import urllib.request
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin

from tests.support import KEY, Reply, Server

VOID = {"meta", "link", "input", "img", "br", "hr"}
OWN = {"Sec-Fetch-Site": "same-origin"}
TOKEN = re.compile(r'name="token" value="([^"]+)"')


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class Browser:
    """Asks for pages as a browser does. It follows no redirect by itself; `follow` does."""

    def __init__(self, server: Server) -> None:
        self.server, self.cookie = server, ""
        self._opener = urllib.request.build_opener(_Stay)

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        return self._ask(path, None, OWN if headers is None else headers)

    def post(self, path: str, headers: dict[str, str] | None = None, **fields: str) -> Reply:
        return self._ask(path, urlencode(fields).encode(), OWN if headers is None else headers)

    def submit(self, page: str, path: str, /, **fields: str) -> Reply:
        """Send a form of a page: with the token that stands there."""
        return self.post(path, token=token_in(self.get(page)), **fields)

    def follow(self, path: str, reply: Reply) -> Reply:
        """Go where an answer to a request for the path leads, as far as it is relative."""
        assert reply.status == 303, (reply.status, reply.body[:500])
        return self.get(urljoin(path, reply.headers["location"]))

    def log_in(self, key: str = KEY) -> Reply:
        return self.post("/dashboard/login", key=key)

    def _ask(self, path: str, body: bytes | None, headers: dict[str, str]) -> Reply:
        request = urllib.request.Request(self.server.url + path, body, headers)
        if self.cookie:
            request.add_header("Cookie", f"theme=dark; {self.cookie}")
        try:
            answer = self._opener.open(request, timeout=15)
        except urllib.error.HTTPError as error:
            answer = error
        reply = Reply(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.read())
        for name, morsel in SimpleCookie(reply.headers.get("set-cookie", "")).items():
            self.cookie = f"{name}={morsel.value}" if morsel.value else ""
        return reply


def token_in(page: Reply) -> str:
    found = TOKEN.search(page.body.decode())
    assert found, page.body[:500]
    return found[1]


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len({name for name, _ in attrs}) == len(attrs), f"<{tag}> has an attribute twice"
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> closes another"

    def handle_data(self, data: str) -> None:
        self.text += data


class Page:
    """A page that was read: its tags with their attributes, and its text."""

    def __init__(self, reply: Reply) -> None:
        assert reply.headers["content-type"] == "text/html; charset=utf-8", reply.body[:500]
        tags = _Tags()
        tags.feed(reply.body.decode())
        tags.close()
        assert tags.open == [], f"never closed: {tags.open}"
        self.tags, self.text = tags.seen, " ".join(tags.text.split())
        ids = [attributes["id"] for _, attributes in self.tags if "id" in attributes]
        assert len(set(ids)) == len(ids), "an id is there twice"

    def values(self, tag: str, attribute: str) -> list[str]:
        return [
            attributes[attribute] or "" for name, attributes in self.tags if name == tag and attribute in attributes
        ]


def row_of(reply: Reply, row_id: str) -> str:
    """Give the text of a line of a table."""
    html = reply.body.decode()
    start = html.index(f'<tr id="{row_id}"')
    tags = _Tags()
    tags.feed(html[start : html.index("</tr>", start) + len("</tr>")])
    return " ".join(tags.text.split())
