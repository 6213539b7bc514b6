"""Where a URL leads, and whether that place is public. DNS is not asked here."""

import re
from collections.abc import Collection
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import msgspec

from millrace.errors import OutboundRefused

Address = IPv4Address | IPv6Address

# One strict pattern instead of a lenient parser: what two parsers read differently is refused by both.
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?P<target>[/?][!-~]*)?",
    re.IGNORECASE,
)
AUTHORITY = re.compile(r"[a-z]+://([^/?#\\]*)", re.IGNORECASE)
LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
NAME_CHARACTERS = 253
PORTS = {"http": 80, "https": 443}

GLOBAL_V6 = ip_network("2000::/3")
NAT64 = ip_network("64:ff9b::/96")  # where IPv4 is reached through IPv6 only, DNS puts every IPv4 address in here
NOT_PUBLIC = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments; Python's own table has had parts of it only
        "192.88.99.0/24",  # relays of 6to4
        "2001::/23",  # Teredo and other tunnels
        "2002::/16",  # 6to4, with any IPv4 address inside
        "3fff::/20",  # documentation, newer than Python's table
    )
)


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a URL leads. `host` is in lower case, without brackets or a final dot; `target` is path and query."""

    scheme: str
    host: str
    port: int
    target: str
    address: Address | None = None

    @property
    def authority(self) -> str:
        """Host and port as a `Host` header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    def is_in(self, allowed: Collection[str]) -> bool:
        """Say whether the host, or host:port, is among these (in lower case; an IPv6 address with or without [])."""
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        return not {self.host, bracketed, f"{bracketed}:{self.port}"}.isdisjoint(allowed)


def read_url(url: str) -> Place:
    """Take a URL apart.

    Raises:
        OutboundRefused: no http or https URL in ASCII, user names in it, a fragment, a host or port that cannot be.
    """
    found = URL.fullmatch(url)
    if found is None or "#" in url:
        raise OutboundRefused(f"the URL {_mistake(url)}")
    scheme = found["scheme"].lower()
    port = int(found["port"]) if found["port"] else PORTS[scheme]
    if not 1 <= port <= 65_535:
        raise OutboundRefused(f"the URL has port {port}; expected 1 to 65,535")
    target = found["target"] or "/"
    host, address = _read_host(found["host"].lower())
    return Place(
        scheme=scheme, host=host, port=port, target=target if target[0] == "/" else f"/{target}", address=address
    )


def host_of(url: str) -> str:
    """Give the host for a log line, which must not hold path or query; nothing when the URL is wrong."""
    found = URL.match(url)
    return found["host"].lower() if found else ""


def is_public(address: Address) -> bool:
    """Say whether anybody on the internet may have that address, and nobody nearby."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFF_FFFF) if address in NAT64 else None)
        if inner is not None:
            return is_public(inner)
        if address not in GLOBAL_V6:
            return False
    return address.is_global and not address.is_multicast and not any(address in network for network in NOT_PUBLIC)


def is_local_name(host: str) -> bool:
    """Say whether a name means this machine, whatever DNS says."""
    return host == "localhost" or host.endswith(".localhost")


def _read_host(text: str) -> tuple[str, Address | None]:
    host = text.strip("[]").removesuffix(".")
    labels = host.split(".")
    # The system reads a host whose last label is a number as an IPv4 address, in decimal, hex or octal.
    if text[0] == "[" or NUMBER.fullmatch(labels[-1]):
        try:
            address = ip_address(host)
        except ValueError:
            raise OutboundRefused(
                f"the URL's host {text[:80]!r} is no address in its usual form; expected four decimal numbers, or IPv6 in []"
            ) from None
        return str(address), address
    if len(host) > NAME_CHARACTERS or not all(LABEL.fullmatch(label) for label in labels):
        raise OutboundRefused(f"the URL's host {text[:80]!r} is no host name; expected one such as hooks.example.com")
    return host, None


def _mistake(url: str) -> str:
    """Say what is wrong with a URL without showing it: paths and queries may hold secrets."""
    authority = AUTHORITY.match(url)
    if authority is None or not url.lower().startswith(("http://", "https://")):
        return "does not begin with http:// or https://"
    if "@" in authority[1]:
        return "has a user name or password before its host; expected none, since what is sent is signed"
    if "#" in url:
        return "has a fragment (#…), which is never sent; leave it away"
    return (
        "is not of the form http(s)://host[:port][/path][?query] in ASCII; "
        "percent-encode other characters, and write host names in their xn-- form"
    )
