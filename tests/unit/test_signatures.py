import base64
import json
import subprocess
import time

import pytest

from millrace.access.signatures import sign, verify
from millrace.errors import InvalidInput
from tests.support import with_packages

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(b"another secret of the tests").decode()
AT_S = 1_614_265_330
BODY = b'{"test": 2432232314}'


def signed(secret: str = SECRET, body: bytes = BODY) -> dict[str, str]:
    return sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", AT_S, body)


def test_the_example_of_standard_webhooks_gives_its_published_signature():
    headers = signed()

    assert headers == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("now_s", [AT_S - 300, AT_S, AT_S + 300])
def test_what_was_signed_is_verified_within_the_tolerance(now_s):
    assert verify(SECRET, signed(), BODY, now_s)


@pytest.mark.parametrize("now_s", [AT_S - 301, AT_S + 301])
def test_an_old_signature_is_not_accepted(now_s):
    assert not verify(SECRET, signed(), BODY, now_s)


@pytest.mark.parametrize(
    "changes",
    [
        {"webhook-id": "msg_other"},
        {"webhook-timestamp": str(AT_S + 1)},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": ""},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v2,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="},
        {"webhook-signature": "v1,ü"},
    ],
)
def test_a_changed_header_is_not_accepted(changes):
    assert not verify(SECRET, signed() | changes, BODY, AT_S)


def test_a_changed_body_is_not_accepted():
    assert not verify(SECRET, signed(), BODY + b" ", AT_S)


def test_headers_that_are_missing_are_not_accepted():
    assert not verify(SECRET, {}, BODY, AT_S)


def test_names_of_headers_may_be_in_any_case():
    headers = {name.title(): value for name, value in signed().items()}

    assert verify(SECRET, headers, BODY, AT_S)


def test_one_of_several_signatures_is_enough():
    headers = signed() | {
        "webhook-signature": f"v1a,abc {signed(OTHER)['webhook-signature']} {signed()['webhook-signature']}"
    }

    assert verify(SECRET, headers, BODY, AT_S)


def test_one_of_several_secrets_is_enough():
    assert verify([OTHER, SECRET], signed(), BODY, AT_S)
    assert not verify([OTHER], signed(), BODY, AT_S)
    assert not verify([], signed(), BODY, AT_S)


@pytest.mark.parametrize("secret", ["", "whsec_", "whsec_not base64!", "whsec_ü"])
def test_a_secret_that_is_none_is_refused_and_not_shown(secret):
    with pytest.raises(InvalidInput, match="the signing secret is not valid") as caught:
        sign(secret, "msg", AT_S, BODY)

    assert "base64!" not in str(caught.value)


def test_the_package_of_standard_webhooks_verifies_what_was_signed():
    headers = sign(SECRET, "msg_1", round(time.time()), BODY)
    lines = [
        "import json, sys",
        "from standardwebhooks import Webhook",
        "given = json.load(sys.stdin)",
        'Webhook(given["secret"]).verify(given["body"], given["headers"])',
    ]

    verified = subprocess.run(
        [*with_packages("standardwebhooks==1.0.1"), "python", "-c", "\n".join(lines)],
        input=json.dumps({"secret": SECRET, "body": BODY.decode(), "headers": headers}),
        capture_output=True,
        text=True,
        check=False,
    )

    assert verified.returncode == 0, verified.stderr
