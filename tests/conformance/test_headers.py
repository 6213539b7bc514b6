"""What a message may ask for beyond its body, at the broker's desk."""

import pytest

from millrace.broker import Broker
from millrace.errors import InvalidMessage
from millrace.message import Outgoing
from millrace.telemetry import Telemetry
from tests.conformance.made import Bench


async def test_headers_travel_as_they_are_written(store, clock):
    bench = await Bench.set_up(store, clock)
    headers = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "X-Correlation-ID": "größe 7"}

    await Broker(store, clock, Telemetry()).send(bench.queue, Outgoing(body=b"1", headers=headers))

    assert (await bench.receive())[0].headers == headers


@pytest.mark.parametrize(
    ("headers", "said"),
    [
        ({"": "x"}, "header name ''"),
        ({"a b": "x"}, "header name 'a b'"),
        ({"a_b": "x"}, "expected 1 to 64 letters, digits or '-'"),
        ({"é": "x"}, "header name"),
        ({"a" * 65: "x"}, "header name"),
        ({7: "x"}, "header name 7"),
        ([("a", "x")], "expected a dict of names and values"),
        ({"a": "x\ny"}, "the value of header a "),
        ({"a": "x\r"}, "the value of header a "),
        ({"a": "\x00"}, "the value of header a "),
        ({"a": 7}, "the value of header a "),
        ({"a": "x", "A": "y"}, "twice"),
        ({f"h{number}": "x" for number in range(33)}, "there are 33 headers"),
        ({"a": "x" * 8192}, "8193 bytes"),
    ],
)
async def test_what_is_no_header_is_refused_without_showing_its_value(store, clock, headers, said):
    bench = await Bench.set_up(store, clock)

    with pytest.raises(InvalidMessage, match=said) as refused:
        await Broker(store, clock, Telemetry()).send(bench.queue, Outgoing(body=b"1", headers=headers))

    assert "xx" not in str(refused.value)
    assert await bench.count() == 0


async def test_as_many_headers_as_are_allowed_pass(store, clock):
    bench = await Bench.set_up(store, clock)
    headers = {f"{number:064}": "x" * 192 for number in range(32)}

    await Broker(store, clock, Telemetry()).send(bench.queue, Outgoing(body=b"1", headers=headers))

    assert await bench.count() == 1


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({"priority": 3}, "priority is 3; expected 0, 1 or 2"),
        ({"priority": "high"}, "priority is 'high'"),
        ({"ordering_key": ""}, "ordering_key is ''; expected 1 to 128"),
        ({"ordering_key": "k" * 129}, "expected 1 to 128 printable ASCII characters"),
        ({"ordering_key": "a\tb"}, "ordering_key"),
        ({"ordering_key": "ü"}, "ordering_key"),
    ],
)
async def test_a_priority_or_ordering_key_that_is_none_is_refused(store, clock, feature, said):
    bench = await Bench.set_up(store, clock)

    with pytest.raises(InvalidMessage, match=said):
        await Broker(store, clock, Telemetry()).send(bench.queue, Outgoing(body=b"1", **feature))
