"""What must not leave the machine inside a sentence: addresses of people, telephone numbers, keys and passwords."""

import re

READ_CHARACTERS = 8_000
SHOWN_CHARACTERS = 1_000

# In this order: what follows `password=` may look like an address, and the user of a URL like its beginning.
# Every repetition that something must follow has a bound, so that no text takes longer than its length.
MASKS: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"://[^\s/@]{1,256}@"), "://(secret)@"),
    (re.compile(r"\b(Bearer|Basic)\s+[\w.~+/=-]+", re.IGNORECASE), r"\1 (secret)"),
    (re.compile(r"\b(sk|pk|rk)_(live|test)_[\w-]+"), r"\1_\2_(secret)"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), "whsec_(secret)"),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+(\.[\w-]*)?"), "(secret)"),
    (
        re.compile(
            r"\b(\w{0,30}(?:password|passwd|pwd|secret|token|api[_-]?key|signature|authorization))"
            r"([\"']?\s{0,5}[=:]\s{0,5})(?!\(secret\)|(?:Bearer|Basic) )(\"[^\"]*\"|'[^']*'|[^\s&]+)",
            re.IGNORECASE,
        ),
        r"\1\2(secret)",
    ),
    (re.compile(r"\"[^\"\r\n@]{1,64}\"@[\w.-]+|[\w.!#$%&'*+/=?^`{|}~-]{1,64}(?:@|%40)[\w.\[\]:-]+"), "(address)"),
    (re.compile(r"(?<![\w.+-])(?:\+|%2B|00)\d[\d ().\u2010-\u2013/-]{5,24}\d(?!\w)", re.IGNORECASE), "(number)"),
    (re.compile(r"(?<![\w.-])\(?\d{3}\)?[ .-]\d{3}[ .-]\d{4}(?![\w-])"), "(number)"),
    (re.compile(r"(?<![\w.-])0\d{2,4}[ /-]\d{5,9}(?![\w-])"), "(number)"),
    (re.compile(r"(?<![\w.-])\d{10,15}(?![\w-]|\.\d)"), "(number)"),
)


def scrubbed(text: str) -> str:
    """Put words in place of addresses of people, telephone numbers, keys, tokens and passwords; give up to 1,000 characters.

    It goes by the look of things, and rather takes a long number for a telephone's than the other way round.
    """
    text = text[:READ_CHARACTERS].encode("utf-8", "replace").decode()
    for pattern, words in MASKS:
        text = pattern.sub(words, text)
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[: SHOWN_CHARACTERS - 1]}…"
