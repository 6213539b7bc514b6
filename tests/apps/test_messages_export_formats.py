"""The formats of exports, and the cells and links that strangers may see."""

import csv
import io
import json
import sys

import pyarrow.parquet
import pytest

from millrace.apps.messaging.exports.cells import safe_cell
from millrace.apps.messaging.exports.columns import Column
from millrace.apps.messaging.exports.formats import CsvWriter, JsonWriter
from millrace.apps.messaging.exports.links import SIGNED, Link, admit_signed, check_link, path_of
from millrace.apps.messaging.exports.parquet import ParquetWriter
from millrace.errors import Forbidden
from millrace.handlers import PermanentError
from millrace.http.request import parse_qs
from millrace.http.routes import Caller

COLUMNS = (Column("name"), Column("count", "number"), Column("at", "time"))
AT_MS, AT = 1_767_225_600_123, "2026-01-01T00:00:00.123Z"
LINK = Link("local", "export-1", 2_000, b"secret")
DOWNLOAD = "/api/exports/export-1/download"


def written(writer, *pages):
    return b"".join([*(writer.add(page) for page in pages), writer.end()])


def query_of(link):
    return parse_qs(path_of(link).partition("?")[2])


def caller(**changes):
    query = path_of(LINK).partition("?")[2].encode()
    return Caller(**{"method": "GET", "path": DOWNLOAD, "query_string": query, "bearer": None, **changes})


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "+15005550006",
        "-2",
        "@SUM(A1)",
        "\tx",
        "\rx",
        "\nx",
        "  =1",
        "\u00a0=1",
        '"=1"',
        "'=1",
        "\u200b=1",
        "\ufeff@x",
        "\uff1d1",
        "\uff0b1",
        "\uff0d1",
        "\uff20x",
    ],
)
def test_a_cell_that_a_spreadsheet_would_run_is_marked_as_a_text(text):
    assert safe_cell(text) == "'" + text


@pytest.mark.parametrize("text", ["", "a=1", "ada@example.com", "Ärger", " plain", "'quoted'", "1-2", "(=1)"])
def test_other_cells_stay_as_they_are(text):
    assert safe_cell(text) == text


def test_csv_has_heads_crlf_and_quotes_where_they_are_needed():
    text = written(CsvWriter(COLUMNS), [('a,"b"\r\nc', -5, AT_MS), ("=x", None, None)], [("ü", 0, 0)])

    assert text.decode() == (f'name,count,at\r\n"a,""b""\r\nc",-5,{AT}\r\n\'=x,,\r\nü,0,1970-01-01T00:00:00.000Z\r\n')
    assert list(csv.reader(io.StringIO(text.decode(), newline="")))[1][0] == 'a,"b"\r\nc'


def test_csv_without_rows_has_its_heads():
    assert written(CsvWriter(COLUMNS)) == b"name,count,at\r\n"


def test_json_is_one_array_however_many_pages_there_are():
    text = written(JsonWriter(COLUMNS), [("=x", 1, AT_MS)], [], [("\u2028", None, None)])

    assert json.loads(text) == [{"name": "=x", "count": 1, "at": AT}, {"name": "\u2028", "count": None, "at": None}]
    assert json.loads(written(JsonWriter(COLUMNS))) == []


def test_parquet_has_types_and_groups_of_at_most_20_000_rows():
    page = [(f"name {number}", number, AT_MS) for number in range(8_000)]

    file = pyarrow.parquet.ParquetFile(io.BytesIO(written(ParquetWriter(COLUMNS), *[page] * 6)))

    sizes = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert max(sizes) <= 20_000
    assert sum(sizes) == 48_000
    assert [str(field.type) for field in file.schema_arrow] == ["string", "int64", "timestamp[ms, tz=UTC]"]
    assert file.read().slice(0, 1).to_pylist()[0]["at"].isoformat() == "2026-01-01T00:00:00.123000+00:00"


def test_parquet_of_long_texts_is_written_in_smaller_groups():
    page = [("x" * 100_000, number, None) for number in range(250)]

    file = pyarrow.parquet.ParquetFile(io.BytesIO(written(ParquetWriter(COLUMNS), page, page)))

    assert file.num_row_groups == 2


def test_parquet_without_rows_is_a_file_of_no_rows():
    file = pyarrow.parquet.ParquetFile(io.BytesIO(written(ParquetWriter(COLUMNS))))

    assert file.metadata.num_rows == 0


def test_parquet_without_its_library_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(PermanentError, match=r"pip install 'millrace\[parquet\]'"):
        ParquetWriter(COLUMNS)


def test_a_link_is_good_until_it_expires():
    check_link(query_of(LINK), "local", "export-1", b"secret", 1_999_999)

    with pytest.raises(Forbidden, match="expired"):
        check_link(query_of(LINK), "local", "export-1", b"secret", 2_000_000)


@pytest.mark.parametrize(
    "changed",
    [
        LINK._replace(account_id="other"),
        LINK._replace(export_id="export-2"),
        LINK._replace(secret=b"guess"),
    ],
)
def test_a_link_is_good_for_its_own_file_only(changed):
    with pytest.raises(Forbidden, match="signed"):
        check_link(query_of(changed), "local", "export-1", b"secret", 0)


@pytest.mark.parametrize("changed", [{"expires": ["3000"]}, {"expires": ["x"]}, {"expires": []}, {"signature": ["ü"]}])
def test_a_link_that_was_changed_is_refused(changed):
    query = {name: values for name, values in {**query_of(LINK), **changed}.items() if values}

    with pytest.raises(Forbidden, match="signed"):
        check_link(query, "local", "export-1", b"secret", 0)


def test_a_signed_link_lets_in_at_the_file_and_nowhere_else():
    key = admit_signed(caller())

    assert key is not None
    assert (key.id, key.account_id) == (SIGNED, "local")


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "POST"},
        {"bearer": b"some key"},
        {"query_string": b""},
        {"query_string": b"signature=1"},
        {"query_string": b"account=%00&signature=1"},
        *({"path": path} for path in ("/api/exports/export-1", "/api/exports", "/api/messages/1/download")),
        {"path": DOWNLOAD + "/more"},
        {"path": "/api/exports/a/b/download"},
    ],
)
def test_what_is_no_signed_link_needs_a_key(changes):
    assert admit_signed(caller(**changes)) is None
