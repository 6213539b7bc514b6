"""Log-ins that failed, by address: after some, each further try has to wait."""

from ipaddress import IPv6Address, ip_address, ip_network

FREE_TRIES = 4
WAIT_MS_MAX = 30_000  # not longer: behind a proxy all people have one address
FORGOTTEN_MS = 3_600_000
ADDRESSES = 10_000
IPV6_PREFIX = 64  # one customer has as many addresses as there are below it


class Tries:
    """How often each address has failed, and when last."""

    def __init__(self) -> None:
        self._failures: dict[str, tuple[int, int]] = {}

    def wait_ms(self, address: str, now_ms: int) -> int:
        """Say for how long the address may not try again; 0 when it may."""
        count, last_ms = self._failures.get(_place_of(address), (0, 0))
        if now_ms - last_ms >= FORGOTTEN_MS or count < FREE_TRIES:
            return 0
        return max(0, last_ms + min(WAIT_MS_MAX, 1000 << min(count - FREE_TRIES, 10)) - now_ms)

    def note_failure(self, address: str, now_ms: int) -> None:
        """Count a failure; of ten thousand addresses the one that failed longest ago is forgotten."""
        place = _place_of(address)
        count, last_ms = self._failures.pop(place, (0, now_ms))
        if len(self._failures) >= ADDRESSES:
            del self._failures[next(iter(self._failures))]
        self._failures[place] = (1 if now_ms - last_ms >= FORGOTTEN_MS else count + 1, now_ms)

    def forget(self, address: str) -> None:
        """Begin anew for an address that has logged in."""
        self._failures.pop(_place_of(address), None)


def _place_of(address: str) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if not isinstance(parsed, IPv6Address) or parsed.ipv4_mapped is not None:
        return str(parsed)
    return str(ip_network(f"{parsed}/{IPV6_PREFIX}", strict=False))
