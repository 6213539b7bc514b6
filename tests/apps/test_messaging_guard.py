"""Providers that are left alone while they are in trouble; which provider is chosen; messages as files."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from millrace.apps.messaging.jobs import EmailJob, SmsJob
from millrace.apps.messaging.providers.choice import make_providers
from millrace.apps.messaging.providers.contract import TURN, Away, Failed, Handed, Refused
from millrace.apps.messaging.providers.files import FileProvider
from millrace.apps.messaging.providers.guard import Guarded
from millrace.apps.messaging.settings import MessagingSettings, ResendSettings, SmtpSettings, TwilioSettings
from millrace.bucket import Rate
from millrace.errors import ConfigurationError
from millrace.resources.outbound import Outbound
from millrace.telemetry import Telemetry
from millrace.testing.clock import ManualClock

EMAIL = EmailJob(message_id="../msg", recipient="ada@example.com", subject="Hello", content="Text", priority="low")
SMS = SmsJob(message_id="../msg", recipient="+15005550010", content="Grüße", priority="low")
TROUBLE = Failed("smtp", "down", is_trouble=True)


class Scripted:
    """A provider that does what it is told, once each; then it takes everything."""

    name = "smtp"

    def __init__(self, *script: Exception | asyncio.Event) -> None:
        self.script, self.asked = list(script), 0

    async def send(self, account_id: str, letter: Any) -> Handed:
        self.asked += 1
        told = self.script.pop(0) if self.script else None
        if isinstance(told, Exception):
            raise told
        if told is not None:
            await told.wait()
        return Handed(provider=self.name)

    async def aclose(self) -> None: ...


class Stage:
    """A guarded provider, a clock for its breaker, and the events it emitted."""

    def __init__(self, *script: Exception | asyncio.Event, **more: Any) -> None:
        self.provider, self.now_s, self.events = Scripted(*script), 100.0, []
        telemetry = Telemetry()
        telemetry.subscribe(lambda name, fields: self.events.append((name, fields)), "target.opened", "target.closed")
        self.guarded = Guarded(self.provider, telemetry, monotonic=lambda: self.now_s, chance=lambda: 0.5, **more)

    async def send(self) -> Handed | Exception:
        try:
            return await self.guarded.send("local", EMAIL)
        except (Failed, Refused, Away) as error:
            return error

    async def send_times(self, times: int) -> list[Handed | Exception]:
        return [await self.send() for _ in range(times)]


async def test_after_five_troubles_in_a_row_nothing_goes_out_for_a_while():
    stage = Stage(*[TROUBLE] * 5)

    results = await stage.send_times(6)

    assert [type(result) for result in results] == [Failed] * 5 + [Away]
    assert results[-1].seconds == pytest.approx(1)
    assert stage.provider.asked == 5
    assert stage.events == [("target.opened", {"target": "smtp", "seconds": pytest.approx(1)})]


@pytest.mark.parametrize("between", [Refused("smtp", "550"), Failed("smtp", "451")])
async def test_a_message_that_is_refused_shows_that_the_provider_is_there(between: Exception):
    stage = Stage(*[TROUBLE] * 4, between, *[TROUBLE] * 4)

    results = await stage.send_times(10)

    assert isinstance(results[-1], Handed)
    assert stage.events == []


async def test_one_message_tries_whether_the_provider_is_back():
    answered = asyncio.Event()
    stage = Stage(*[TROUBLE] * 5, answered)
    await stage.send_times(5)
    stage.now_s += 2

    probe = asyncio.create_task(stage.send())
    await asyncio.sleep(0)
    meanwhile = await stage.send()
    answered.set()

    assert isinstance(meanwhile, Away)
    assert isinstance(await probe, Handed)
    assert isinstance(await stage.send(), Handed)
    assert stage.events[-1] == ("target.closed", {"target": "smtp"})


async def test_a_try_that_fails_lengthens_the_pause_and_one_that_is_cut_off_leaves_the_next_one_free():
    answered = asyncio.Event()
    stage = Stage(*[TROUBLE] * 5, TROUBLE, answered)
    await stage.send_times(5)
    stage.now_s += 2

    again = await stage.send()
    away = await stage.send()
    stage.now_s += 3
    cut_off = asyncio.create_task(stage.send())
    await asyncio.sleep(0)
    cut_off.cancel()
    await asyncio.wait([cut_off])

    assert (type(again), type(away)) == (Failed, Away)
    assert away.seconds == pytest.approx(2)
    assert isinstance(await stage.send(), Handed)


async def test_a_provider_that_asks_for_a_pause_has_it_at_once():
    stage = Stage(Failed("smtp", "429", retry_after_seconds=30, is_trouble=True))

    first, second = await stage.send_times(2)
    stage.now_s += 31

    assert (type(first), type(second)) == (Failed, Away)
    assert second.seconds == pytest.approx(30)
    assert isinstance(await stage.send(), Handed)
    assert [name for name, _ in stage.events] == ["target.opened", "target.closed"]


async def test_a_provider_whose_rate_is_used_up_is_not_asked_before_the_message_has_its_turn():
    waits, asked = [0, 2.5, 5_000], []

    async def take(name: str, rate: Rate, longest_seconds: float) -> float:
        asked.append((name, rate))
        return waits[len(asked) - 1]

    stage = Stage(rate=Rate(1, 5), take=take)

    first, second, third = await stage.send_times(3)
    come_again = await stage.guarded.send("local", EMAIL, has_turn=True)

    assert isinstance(first, Handed)
    assert (type(second), second.seconds, second.has_turn, str(second)) == (Away, 2.5, True, TURN)
    assert (type(third), third.seconds, third.has_turn) == (Away, 3_600, False)
    assert isinstance(come_again, Handed)
    assert asked == [("smtp", Rate(1, 5))] * 3
    assert stage.provider.asked == 2


def files_below(folder: Path) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()]


async def test_a_message_becomes_a_file_whose_name_leads_nowhere(tmp_path: Path):
    provider = FileProvider(tmp_path / "outbox", "queue@example.com", ManualClock())

    handed = await provider.send("local", EMAIL)
    await provider.send("local", EMAIL)
    text = await provider.send("local", SMS)

    assert sorted(files_below(tmp_path)) == sorted(f"outbox/{one.provider_id}" for one in (handed, text))
    assert (handed.provider, handed.status) == ("file", "stored")
    assert b"To: ada@example.com" in (tmp_path / "outbox" / handed.provider_id).read_bytes()
    assert "Grüße" in (tmp_path / "outbox" / text.provider_id).read_text()


async def test_a_folder_that_cannot_be_written_is_trouble(tmp_path: Path):
    (tmp_path / "outbox").write_text("a file in the way")
    provider = FileProvider(tmp_path / "outbox", "queue@example.com", ManualClock())

    with pytest.raises(Failed, match="file: File exists") as raised:
        await provider.send("local", EMAIL)

    assert raised.value.is_trouble


def chosen(folder: Path, **settings: Any) -> tuple[str, str]:
    given = MessagingSettings(account_id="local", folder=folder, **settings)
    providers = make_providers(given, Outbound(), Telemetry(), ManualClock())
    return providers.email.name, providers.sms.name


def test_the_settings_choose_the_providers(tmp_path: Path):
    smtp = SmtpSettings(host="mail.example")
    resend = ResendSettings(api_key="re_key", api_base="http://127.0.0.1:1")
    twilio = TwilioSettings(account_sid="AC1", auth_token="token", from_number="+15005550006")

    assert chosen(tmp_path) == ("email-file", "sms-file")
    assert chosen(tmp_path, smtp=smtp) == ("smtp", "sms-file")
    assert chosen(tmp_path, smtp=smtp, resend=resend, twilio=twilio) == ("resend", "twilio")


def test_a_sender_that_is_no_address_stops_the_start(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="the sender of e-mails is 'nobody'"):
        chosen(tmp_path, mail_from="nobody")
