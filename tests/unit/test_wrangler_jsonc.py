import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.jsonc import blank


class TestBlanking:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("1 // one", "1       "),
            ("/* a\r\n b */ 1", "    \r\n      1"),
            ("[1, 2, ]", "[1, 2  ]"),
            ("[1, // one\n]", "[1        \n]"),
            ('{"a": 1 /* , */ , }', '{"a": 1           }'),
            (r'["a\" // b", "/*", "*/"]', r'["a\" // b", "/*", "*/"]'),
            (r'["\\", 1,]', r'["\\", 1 ]'),
            ('["a,]", ",}"]', '["a,]", ",}"]'),
            ("[ , ]", "[ , ]"),
            ("[/* none */,]", "[          ,]"),
        ],
    )
    def test_comments_and_trailing_commas_become_spaces(self, text, expected):
        assert blank(text) == expected

    @given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists), st.sampled_from([None, 1]))
    def test_json_stays_as_it_is(self, value, indent):
        text = json.dumps(value, ensure_ascii=False, indent=indent)

        assert blank(text) == text
