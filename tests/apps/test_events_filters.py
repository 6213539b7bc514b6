"""Which events a filter takes."""

import pytest

from millrace.apps.events.filters import check_paths, fits
from millrace.errors import BodyDoesNotFit

EVENT = {
    "event_id": "e",
    "payload": {"type": "order", "n": 1, "paid": True, "none": None, "list": ["a"], "deep": {"er": {"still": 2.5}}},
    "metadata": {"shop": "north", "emoji": "🎈"},
}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"payload.type": "order"},
        {"payload.type": ["invoice", "order"]},
        {"payload.type": "order", "metadata.shop": "north"},
        {"payload.n": 1},
        {"payload.n": 1.0},
        {"payload.paid": True},
        {"payload.none": None},
        {"payload.deep.er.still": 2.5},
        {"metadata.emoji": "🎈"},
    ],
)
def test_an_event_that_has_all_the_values_fits(wanted):
    assert fits(EVENT, wanted)


@pytest.mark.parametrize(
    "wanted",
    [
        {"payload.type": "invoice"},
        {"payload.type": ["invoice", None]},
        {"payload.type": "order", "metadata.shop": "south"},
        {"payload.missing": None},
        {"payload.type.deeper": "order"},
        {"payload.n": True},
        {"payload.paid": 1},
        {"payload.n": "1"},
        {"payload.list": "a"},
        {"payload.list": ["a"]},
        {"payload.deep": "er"},
    ],
)
def test_an_event_that_lacks_one_does_not(wanted):
    assert not fits(EVENT, wanted)


def test_an_event_without_metadata_fits_no_filter_on_it():
    assert not fits({"payload": {}}, {"metadata.shop": "north"})


@pytest.mark.parametrize("path", ["", "payload", "payload.", ".a", "payload..a", "event_id", "Payload.a", "payload.a."])
def test_a_path_that_leads_nowhere_is_refused_by_name(path):
    with pytest.raises(BodyDoesNotFit, match=r"such as 'payload.order.type'"):
        check_paths(["payload.fine", path])
