"""The lines of the keys and elements in JSON, with comments and trailing commas."""

import json
import re

from millrace.jsonc import STRING, blank
from millrace.wrangler.places import Spot, line_counter

SIGN = re.compile(rf"{STRING}|[\[\]{{}},:]|[^\s\[\]{{}},:\"]+", re.DOTALL)


def json_spots(text: str) -> Spot:
    """Give the spots of a text that is known to be JSON with comments. Of a key that stands twice, the last counts."""
    line = line_counter(text)
    root = Spot(0)
    value: Spot | None = root  # the spot whose value comes next; None when a key or an element has to come first
    around: list[tuple[Spot, bool]] = []  # the open brackets, and whether each is an object's
    for match in SIGN.finditer(blank(text)):
        sign = match[0]
        if sign in (",", ":"):
            continue
        if sign in ("]", "}"):
            around.pop()
            continue
        if value is None:
            holder, is_object = around[-1]
            value = Spot(line(match.start()))
            holder.inner[json.loads(sign) if is_object else len(holder.inner)] = value
            if is_object:
                continue
        if sign in ("[", "{"):
            around.append((value, sign == "{"))
        value = None
    return root
