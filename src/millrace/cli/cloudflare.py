"""The account at Cloudflare that some commands speak to, beside ours."""

from collections.abc import Mapping

from millrace.cfqueue import CLOUDFLARE
from millrace.client.retries import Retries
from millrace.client.synchronous import Client
from millrace.edge_jobs.config import missing_of
from millrace.errors import ConfigurationError

RETRIES = Retries(count=6, total_seconds=30)
NAMES = ("CLOUDFLARE_ACCOUNT_ID", "CLOUDFLARE_API_TOKEN")


def cloudflare_client(values: Mapping[str, str]) -> Client:
    """Make a client of that account, or of another server that speaks its API (CLOUDFLARE_API_BASE_URL).

    Raises:
        ConfigurationError: a variable is missing.
    """
    if missing := missing_of(values, NAMES):
        raise ConfigurationError(f"to reach Cloudflare, set {' and '.join(missing)}")
    account_id, token = (values[name].strip() for name in NAMES)
    url = values.get("CLOUDFLARE_API_BASE_URL") or CLOUDFLARE
    return Client(url, token, account_id=account_id, retries=RETRIES)
