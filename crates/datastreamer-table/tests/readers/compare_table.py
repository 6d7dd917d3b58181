"""Reads tables with other people's readers and compares them, value by value, with their sources.

usage: compare_table.py SOURCE.arrows FORMAT FILE
       compare_table.py DIRECTORY   (of files NAME.arrows, NAME.FORMAT: every pair)

SOURCE is an Arrow IPC stream, read by pyarrow; FILE is read by astropy (VOTable, FITS), pyarrow
(Parquet, Arrow and, beside Python's csv, CSV) or Python's csv (TSV), json (JSON, NDJSON) and
html.parser (HTML). Ends with 1 and names file, column and row where they differ.
"""

import csv
import io
import json
import math
import pathlib
import re
import sys
import warnings
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

# What has no types of its own.
TEXTS = ("csv", "tsv", "json", "ndjson", "html")
# What has a null that nothing else is.
STRICT = ("json", "ndjson", "html", "parquet", "arrow", "arrow-file")

READERS = {
    "votable": lambda path: [read_votable(path)],
    "fits": lambda path: [read_fits(path)],
    "csv": lambda path: [read_csv(path), read_csv_with_pyarrow(path)],
    "tsv": lambda path: [read_tsv(path)],
    "json": lambda path: [read_json(path)],
    "ndjson": lambda path: [read_ndjson(path)],
    "html": lambda path: [read_html(path)],
}


def main(*arguments):
    if len(arguments) == 3:
        compare(*arguments)
        return
    sources = sorted(pathlib.Path(arguments[0]).glob("*.arrows"))
    if not sources:
        fail("no tables")
    for source in sources:
        (table,) = [it for it in source.parent.glob(source.stem + ".*") if it != source]
        try:
            compare(source, table.suffix[1:], table)
        except Exception as error:
            fail(f"{table}: {error!r}")
        except SystemExit as differs:
            fail(f"{table}: {differs}")


def compare(source, format, path):
    expected = pa.ipc.open_stream(source).read_all()
    if format in ("parquet", "arrow", "arrow-file"):
        readings = [read_arrow(str(path), format, expected.schema)]
    else:
        readings = READERS[format.split("-")[0]](str(path))
    for found in readings:
        if found["names"] is None and len(expected) == 0:
            # JSON names columns with its rows.
            continue
        if found["names"] != expected.column_names:
            fail(f"names: {found['names']} instead of {expected.column_names}")
        for place, name in enumerate(expected.column_names):
            column = expected.column(place)
            if len(found["columns"][place]) != len(column):
                fail(f"{name}: {len(found['columns'][place])} rows instead of {len(column)}")
            for row, value in enumerate(column):
                want = plain(value, format)
                have = found["columns"][place][row]
                if not same(want, have, format):
                    fail(f"{name}, row {row}: {differing(have, want)}")


def differing(have, want):
    """Long texts from where they differ."""
    if not (isinstance(have, str) and isinstance(want, str)):
        return f"{have!r} instead of {want!r}"
    pairs = enumerate(zip(have, want))
    at = next((at for at, (h, w) in pairs if h != w), min(len(have), len(want)))
    return f"from character {at}: {have[at : at + 20]!r} instead of {want[at : at + 20]!r}"


def fail(text):
    sys.exit(f"{text}")


def plain(scalar, format):
    """A value as the format's reader should give it."""
    kind = scalar.type
    if not scalar.is_valid:
        return None
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        # numpy's text has as many digits as the unit.
        text = str(np.datetime64(scalar.value, unit(kind)))
        return text[:10] if pa.types.is_date(kind) else text
    if pa.types.is_time(kind):
        return str(np.datetime64(scalar.value, kind.unit)).split("T")[1]
    if pa.types.is_decimal(kind):
        return f"{scalar.as_py():f}"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return [plain(element, format) for element in scalar]
    if pa.types.is_uint64(kind) and format.startswith("votable"):
        return str(scalar.as_py())
    if pa.types.is_float32(kind) and format in TEXTS:
        return np.float32(scalar.as_py())
    if is_bytes(kind):
        return scalar.as_py().hex() if format in TEXTS else list(scalar.as_py())
    if format == "votable-tabledata" and isinstance(scalar.as_py(), str):
        return in_tabledata(scalar.as_py())
    return scalar.as_py()


def is_bytes(kind):
    return any(
        check(kind)
        for check in (
            pa.types.is_binary,
            pa.types.is_large_binary,
            pa.types.is_fixed_size_binary,
            pa.types.is_binary_view,
        )
    )


def in_tabledata(text):
    """What XML has no character for is replaced; astropy (8.0) takes away white space at the ends
    of an element."""
    return re.sub("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text).strip(" \t\n\r")


def unit(kind):
    if pa.types.is_date32(kind):
        return "D"
    return "ms" if pa.types.is_date64(kind) else kind.unit


def same(want, have, format):
    if format in STRICT and (want is None or have is None):
        return have is None and (want is None or format.endswith("json") and is_nan(want))
    if format in ("csv", "tsv", "html"):
        return same_text(want, have)
    if format in STRICT:
        return same_exactly(want, have, format)
    if have is np.ma.masked:
        have = None
    if isinstance(want, list):
        if have is None:
            # Of what has no null of its own, none of the elements has a value.
            return all(w is None or is_nan(w) for w in want)
        # VOTable has one element as a single value.
        have = [have] if np.ndim(have) == 0 else list(have)
        return len(want) == len(have) and all(same(w, h, format) for w, h in zip(want, have))
    if isinstance(want, str) and isinstance(have, np.ndarray):
        # A text behind the rows of a FITS table: astropy gives its characters.
        have = "".join(have.tolist())
    if want is None:
        # What has no null of its own: NaN, an empty text, an empty list; a FITS logical.
        empty = have is None or is_nan(have) or (hasattr(have, "__len__") and len(have) == 0)
        return empty or (format == "fits" and isinstance(have, np.bool_) and not have)
    if have is None:
        return is_nan(want) or want == "" or want == []
    if isinstance(want, float):
        return is_nan(want) and is_nan(have) or want == float(have)
    if isinstance(want, bool):
        return want == bool(have)
    if isinstance(want, int):
        return want == int(have)
    # FITS: blanks at the end of a text mean nothing.
    return (want.rstrip(" ") == str(have).rstrip(" ")) if format == "fits" else want == str(have)


def is_nan(value):
    return isinstance(value, (float, np.floating)) and math.isnan(value)


def same_exactly(want, have, format):
    if isinstance(want, list):
        return (
            isinstance(have, list)
            and len(want) == len(have)
            and all(same(w, h, format) for w, h in zip(want, have))
        )
    if isinstance(want, (float, np.floating)):
        have = type(want)(have)
        return is_nan(want) and is_nan(have) or str(want) == str(have)
    return type(want) is type(have) and want == have


def same_text(want, have):
    if want is None:
        return have is None or have == ""
    if isinstance(want, bool):
        return have == ("true" if want else "false")
    if isinstance(want, (float, np.floating)):
        return is_nan(want) and have == "NaN" or want == type(want)(have)
    if isinstance(want, int):
        return want == int(have)
    return want == have


def read_votable(path):
    from astropy.io.votable import parse

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # The recommendation's names of UTF-16, which readers warn of.
        warnings.filterwarnings("ignore", message=".*W4[69].*")
        document = parse(path, verify="exception")
    table = document.get_first_table()
    columns = []
    for field in table.fields:
        values, mask = table.array[field.ID].data, table.array[field.ID].mask
        columns.append([unmasked(v, m) for v, m in zip(values, mask)])
    return {"names": [field.name for field in table.fields], "columns": columns}


def unmasked(value, mask):
    if np.ndim(mask) == 0:
        return None if mask else value
    if np.size(mask) and np.all(mask):
        return None
    return value


def read_fits(path):
    from astropy.io import fits
    from astropy.table import Table

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # A logical that is null: the table has no mask for it.
        warnings.filterwarnings("ignore", message=".*contains NULL.*")
        with fits.open(path) as hdus:
            hdus.verify("exception")
            names = [hdus[1].header[f"TTYPE{i + 1}"] for i in range(hdus[1].header["TFIELDS"])]
        table = Table.read(path, hdu=1, character_as_bytes=False)
    columns = []
    for column in table.itercols():
        mask = getattr(column, "mask", np.zeros(len(column), bool))
        columns.append([unmasked(v, m) for v, m in zip(column, mask)])
    return {"names": names, "columns": columns}


def read_csv(path):
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file, strict=True))
    return by_column(rows)


def read_csv_with_pyarrow(path):
    """All as text; an empty field is a null, an empty text in quotes is none."""
    parse = pa.csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False)
    names = pa.csv.open_csv(path, parse_options=parse).schema.names
    table = pa.csv.read_csv(
        path,
        parse_options=parse,
        convert_options=pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )
    return {"names": table.column_names, "columns": [column.to_pylist() for column in table.columns]}


def read_tsv(path):
    text = open(path, newline="", encoding="utf-8").read()
    assert text.endswith("\n")
    escapes = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\\\": "\\"}

    def unescaped(field):
        out, at = io.StringIO(), 0
        while at < len(field):
            pair = field[at : at + 2]
            out.write(escapes.get(pair, field[at]))
            at += 2 if pair in escapes else 1
        return out.getvalue()

    lines = text[:-1].split("\n")
    assert all(lines), "a blank line"
    # Of one column what is blank is in quotes.
    lines = [re.sub('^"( *)"$', r"\1", line) for line in lines]
    return by_column([[unescaped(field) for field in line.split("\t")] for line in lines])


def read_json(path):
    return by_key(json.load(open(path, encoding="utf-8"), **JSON_OPTIONS))


def read_ndjson(path):
    text = open(path, newline="", encoding="utf-8").read()
    assert text == "" or text.endswith("\n")
    return by_key([json.loads(line, **JSON_OPTIONS) for line in text.split("\n")[:-1]])


def no_constant(text):
    raise ValueError(f"{text} is no JSON")


# Numbers with a point as they stand; no NaN, which Python would read.
JSON_OPTIONS = {"parse_float": str, "parse_constant": no_constant}


def by_key(records):
    names = list(records[0]) if records else None
    assert all(list(record) == names for record in records), "keys differ"
    return {"names": names, "columns": [[r[name] for r in records] for name in names or []]}


def read_html(path):
    page = Page()
    page.feed(open(path, newline="", encoding="utf-8").read())
    page.close()
    assert page.open == [], f"left open: {page.open}"
    return by_column(page.rows)


class Page(HTMLParser):
    """The rows of a page's only table; an empty cell of the class null is None."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.rows, self.open, self.cell = [], [], None

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell = None if ("class", "null") in attributes else ""

    def handle_endtag(self, tag):
        assert self.open.pop() == tag
        if tag in ("td", "th"):
            self.rows[-1].append(self.cell)

    def handle_data(self, data):
        # Not the unit of a column, which is small.
        if self.open and self.open[-1] in ("td", "th"):
            self.cell += data


def read_arrow(path, format, schema):
    if format == "parquet":
        table = pyarrow.parquet.read_table(path)
    elif format == "arrow":
        table = pa.ipc.open_stream(path).read_all()
    else:
        table = pa.ipc.open_file(path).read_all()
    assert table.schema.metadata is None or schema.metadata is None or (
        table.schema.metadata.items() >= schema.metadata.items()
    ), "the table's metadata"
    columns = []
    for have, want in zip(table.schema, schema):
        kept = {key: have.metadata.get(key) for key in want.metadata or {}} if have.metadata else {}
        assert kept == (want.metadata or {}), f"metadata of {have.name}: {have.metadata}"
        column = table.column(have.name)
        # Seconds come back as milliseconds from Parquet, dictionaries as values from a file.
        if column.type != want.type:
            column = column.cast(want.type)
        columns.append([plain(value, format) for value in column])
    return {"names": table.column_names, "columns": columns}


def by_column(rows):
    names, rows = rows[0], rows[1:]
    return {"names": names, "columns": [[row[i] for row in rows] for i in range(len(names))]}


if __name__ == "__main__":
    main(*sys.argv[1:])
