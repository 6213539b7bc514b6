"""What a page of the dashboard is: a value, which the dashboard and the applications give alike."""

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from millrace.access.keys import Key
from millrace.access.scopes import GRANTS, Role, Scope, check_scope
from millrace.errors import ConfigurationError, Forbidden
from millrace.http.routes import Answer

if TYPE_CHECKING:
    from millrace.dashboard.turn import Turn

OWN_TEMPLATES = Path(__file__).parent / "templates"
NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
TAKEN = frozenset({"login", "logout", "static"})

Show = Callable[["Turn"], Awaitable[Answer]]


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page with its line in the menu, for keys that have the scope and reach the queue, if it names one.

    `shows` (GET) and `acts` (its forms) are functions by path below `/dashboard/<name>`; "" is the page itself. The
    folder `templates` is found as `<name>/…`. `said` has the sentences that `Turn.go` may leave, by their names; in
    them `{count}` stands for a number.
    """

    name: str
    title: str
    scope: Scope
    shows: Mapping[str, Show]
    acts: Mapping[str, Show] = {}
    templates: Path = OWN_TEMPLATES
    said: Mapping[str, str] = {}
    queue: str | None = None
    needs_all_queues: bool = False

    def check(self, key: Key) -> None:
        """Let a key pass that the page is for.

        Raises:
            Forbidden: it is a guest's, its role has not the scope, or it is limited to other queues or to a tenant.
        """
        if not key.account_id:
            raise Forbidden("this page is for those who have logged in")
        check_scope(key.role, self.scope)
        if self.queue is not None:
            key.check_queue(self.queue)
        if key.tenant is not None or (self.needs_all_queues and key.queues is not None):
            raise Forbidden("this page goes beyond what your key is limited to; log in with a key without limits")

    def is_for(self, key: Key) -> bool:
        """Say whether the page is for a key."""
        with suppress(Forbidden):
            self.check(key)
            return True
        return False


def check_member(key: Key, pages: Sequence[Page]) -> None:
    """Let a key pass that any page is for.

    Raises:
        Forbidden: none is.
    """
    if any(page.is_for(key) for page in pages):
        return
    roles = roles_of(pages)
    if key.role in roles:
        raise Forbidden("no page of the dashboard is within what your key is limited to")
    raise Forbidden(f"the dashboard is for keys of the roles {in_words(roles, 'and')}, not of {key.role}")


def roles_of(pages: Sequence[Page]) -> list[Role]:
    """Give the roles that have a page to see."""
    scopes = {page.scope for page in pages}
    return [role for role in Role if scopes & GRANTS[role]]


def in_words(roles: Sequence[str], last: str) -> str:
    """Write a list as in a sentence: `admin, operator or reviewer`."""
    *others, final = roles
    return f"{', '.join(others)} {last} {final}" if others else final


def check_names(pages: Sequence[Page]) -> None:
    """Let pages pass that can stand beside each other.

    Raises:
        ConfigurationError: two have the same name, or one has a name that is no segment of a path or is taken.
    """
    seen = set(TAKEN)
    for page in pages:
        if not NAME.fullmatch(page.name):
            raise ConfigurationError(
                f"a page of the dashboard is named {page.name!r}; expected a letter, then up to 39 of a-z, 0-9 and -"
            )
        if page.name in seen:
            raise ConfigurationError(f"two pages of the dashboard are named {page.name!r}; give one another name")
        seen.add(page.name)
