"""The fields of a form that was sent."""

from urllib.parse import parse_qs

from millrace.errors import InvalidRequest

FIELDS = 20


class Form:
    """Fields by name; what was left empty is as if it were not there."""

    def __init__(self, body: bytes) -> None:
        try:
            found = parse_qs(body.decode(), max_num_fields=FIELDS, errors="strict")
        except ValueError:
            raise InvalidRequest("the form cannot be read; expected fields in UTF-8, as a browser sends them") from None
        self._values = {name: values[-1] for name, values in found.items()}

    def text(self, name: str) -> str:
        """Give a field, with line ends as they were typed; '' when it is empty."""
        return self._values.get(name, "").replace("\r\n", "\n")

    def number(self, name: str) -> float | None:
        """Give a number, None when the field is empty.

        Raises:
            InvalidRequest: it is no number.
        """
        text = self.text(name).strip()
        try:
            return float(text) if text else None
        except ValueError:
            raise InvalidRequest(f"{name} is {text[:40]!r}; expected a number") from None
