"""The keys that a start brings: ADMIN_TOKEN, or a first key that is made; and what becomes of them beside other servers."""

from millrace.cli.house import House
from millrace.config import Settings
from millrace.errors import Unauthenticated


async def set_first_keys(house: House, settings: Settings) -> str | None:
    """Set the key of the environment; make an admin key when there is none at all, and give its secret.

    A server without ADMIN_TOKEN leaves the one that another server on the same database was given.
    """
    keys, account_id = house.keys, settings.account_id
    if settings.admin_token is not None or not house.store.shares:
        before = {key.id for key in keys.of_account(account_id) if key.from_environment}
        await keys.replace_from_environment(account_id, settings.admin_token)
        if house.store.shares and before - {key.id for key in keys.of_account(account_id)}:
            _warn(house, "takes the place of another one, which servers on this database were started with before")
    return await keys.create_first(account_id)


class AdminToken:
    """Tells once when another server has put another ADMIN_TOKEN in the place of ours: the latest start counts."""

    def __init__(self, house: House, settings: Settings) -> None:
        self._house = house
        self._secret = settings.admin_token.encode("utf-8", "surrogateescape") if settings.admin_token else None

    def look(self) -> None:
        """Look whether it is still a key."""
        if self._secret is None:
            return
        try:
            self._house.keys.authenticate(self._secret)
        except Unauthenticated:
            self._secret = None
            _warn(self._house, "of this server was replaced by that of another one, and is refused; give all the same")


def _warn(house: House, what: str) -> None:
    house.telemetry.emit("configuration.warning", warning=f"ADMIN_TOKEN {what}")
