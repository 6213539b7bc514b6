"""Settings of messages: what is wrong is named at the start, not with the first message."""

import pytest

from millrace.errors import ConfigurationError
from millrace.messaging_config import read_messaging


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("RESEND_API_BASE", "https://user:hunter2@relay.example", "user name or password"),
        ("TWILIO_API_BASE", "https://relay.example/#v1", "fragment"),
        ("TWILIO_API_BASE", "relay.example", "does not begin with http"),
        ("PROVIDER_SECONDS", "nan", "expected a number from 0.1 to 600"),
        ("SMTP_HOST", "smtp://mail.example.com", "expected a host"),
        ("SMTP_HOST", "mail.example.com:25", "without its port"),
        ("SMTP_PORT", "٥٨٧", "expected a number from 1 to 65535"),
        ("EMAIL_RATE", "20/0", "number/seconds"),
        ("SMTP_TLS", "yes", "expected auto or starttls or on or off"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_by_its_name(name: str, text: str, why: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}") as refused:
        read_messaging({name: text})

    assert why in str(refused.value)
    assert "hunter2" not in str(refused.value)
