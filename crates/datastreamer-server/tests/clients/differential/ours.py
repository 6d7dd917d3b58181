"""Runs the program and reads what it wrote, as canonical columns.

Text has no types: a cell is decoded by the kind that the original's column has, and must have the
one form that the program's documentation states. What has another form is a `Malformed` value,
which equals nothing.
"""

from dataclasses import dataclass
from decimal import Decimal
from html.parser import HTMLParser
import io
import json
import os
import re
import subprocess
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import kinds
import votable_binary
from kinds import Kind

# What takes milliseconds on an idle machine.
TIME_LIMIT_SECONDS = 60
# No file here has more than some megabytes.
MEMORY_BYTES_MAX = 3 << 30

FORMATS = ["arrow", "arrow-file", "parquet", "csv", "tsv", "ndjson", "json", "votable", "votable-binary", "votable-binary2", "fits", "html", "text"]


@dataclass(frozen=True)
class Malformed:
    """A cell that has not the form that its kind should have."""

    text: str


@dataclass
class Output:
    code: int
    stdout: bytes
    stderr: str


# The exit code of a run that did not end.
TIMED_OUT = -1000


def run(program, arguments):
    # The log tells the operator, the last line of standard error the user.
    environment = {**os.environ, "RUST_LOG": "error"}
    command = ["prlimit", f"--as={MEMORY_BYTES_MAX}", program, "cat", "--quiet", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_SECONDS, stdin=subprocess.DEVNULL, env=environment)
    except subprocess.TimeoutExpired:
        return Output(TIMED_OUT, b"", f"timeout: nothing after {TIME_LIMIT_SECONDS} s")
    return Output(done.returncode, done.stdout, done.stderr.decode(errors="replace"))


def read(form, data, truth):
    """The columns of an output in some format; `truth` are those of the original."""
    names, kinds_found, columns = READERS[form](data, [column.kind for column in truth])
    if names is None:
        # There is no place for names where there are no records.
        names = [column.name for column in truth]
    return [kinds.Column(*parts) for parts in zip(names, kinds_found, columns, strict=True)]


# --- Text --------------------------------------------------------------------

INTEGER = re.compile(r"-?(0|[1-9][0-9]*)\Z")
DECIMAL = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
FLOAT = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?\Z")
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)\Z")
TIME = re.compile(r"(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?\Z")
NO_NUMBERS = {"NaN": float("nan"), "inf": float("inf"), "-inf": float("-inf")}
VOTABLE_NO_NUMBERS = {"NaN": float("nan"), "+Inf": float("inf"), "-Inf": float("-inf")}


def from_text(kind, text, no_numbers=NO_NUMBERS, zones=True):
    """A text that is not null as a value of some kind."""
    if text is None or text is ALONE:
        return text
    value = parsed(kind, text, no_numbers, zones)
    return Malformed(text) if value is None else value


def parsed(kind, text, no_numbers, zones):
    base = kind.base
    if base == "text":
        return text
    if base == "bool":
        return {"true": True, "false": False}.get(text)
    if base == "int":
        return int(text) if INTEGER.match(text) else None
    if base == "decimal":
        return Decimal(text) if DECIMAL.match(text) else None
    if base in ("float32", "float64"):
        if text in no_numbers:
            return no_numbers[text]
        return narrowed(base, float(text)) if FLOAT.match(text) else None
    if base == "bytes":
        return bytes.fromhex(text) if re.fullmatch(r"([0-9a-f]{2})*", text) else None
    if base == "uuid":
        return text if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text) else None
    if base == "date":
        return days(text)
    if base == "time":
        return nanoseconds(text)
    if base == "instant":
        return instant(text, kind.zoned and zones)
    if base == "duration":
        return duration(text)
    if base == "interval":
        return interval(text)
    if base in NESTED:
        return nested(kind, text)
    return text


NESTED = ("list", "struct", "map")


class Nothing:
    """A null in the place of a number in JSON text, which may be NaN."""

    def __repr__(self):
        return "null"


NOTHING = Nothing()


def nested(kind, text):
    """JSON text; `None` if it has not the form of the kind. Pages and plain text show NaN and infinities."""
    shown = {"NaN": "NaN", "Infinity": "inf", "-Infinity": "-inf"}
    try:
        value = from_json(kind, record(text, lambda constant: Number(shown[constant])), NOTHING)
    except (ValueError, TypeError):
        return None
    return None if is_malformed(value) else value


def is_malformed(value):
    if isinstance(value, (list, dict)):
        return any(map(is_malformed, value.values() if isinstance(value, dict) else value))
    return isinstance(value, Malformed)


PARTS = re.compile(r"(-?)P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d{0,8}[1-9]))?S)?)?\Z")


def interval(text):
    """ISO 8601: months, days and nanoseconds."""
    match = PARTS.match(text)
    if not match or text[-1] in "PT":
        return None
    sign, years, months, number_of_days, hours, minutes, minus, seconds, fraction = match.groups()
    sign = -1 if sign else 1
    time = (int(hours or 0) * 3600 + int(minutes or 0) * 60) * 10**9
    time += (-1 if minus else 1) * (int(seconds or 0) * 10**9 + int((fraction or "").ljust(9, "0")))
    return sign * (int(years or 0) * 12 + int(months or 0)), sign * int(number_of_days or 0), sign * time


def duration(text):
    """The same of days of 24 hours, in nanoseconds."""
    parts = interval(text)
    if parts is None or parts[0]:
        return None
    return parts[1] * 86400 * 10**9 + parts[2]


def narrowed(base, value):
    with np.errstate(over="ignore"):
        return float(np.float32(value)) if base == "float32" else value


def days(text):
    match = DATE.match(text)
    if not match:
        return None
    try:
        return int(np.datetime64(text, "D").astype(np.int64))
    except ValueError:
        return None


def nanoseconds(text):
    match = TIME.match(text)
    if not match or int(match[1]) > 23 or int(match[2]) > 59 or int(match[3]) > 59:
        return None
    seconds = int(match[1]) * 3600 + int(match[2]) * 60 + int(match[3])
    return seconds * 10**9 + int((match[4] or "").ljust(9, "0"))


def instant(text, zoned):
    """ISO 8601, with Z if the column has a zone and only then."""
    if text.endswith("Z") != zoned:
        return None
    day, _, time = text.removesuffix("Z").partition("T")
    day, time = days(day), nanoseconds(time)
    return None if day is None or time is None else day * 86400 * 10**9 + time


def by_rows(names, rows, wanted, **style):
    """Columns of decoded values from rows of texts."""
    for row in rows:
        if len(row) != len(names):
            raise ValueError(f"a row has {len(row)} fields, the header {len(names)}: {row!r}"[:300])
    columns = [[from_text(kind, row[place], **style) for row in rows] for place, kind in enumerate(wanted)]
    return names, wanted, columns


class Alone:
    """Quotes around nothing in a table of one column, where a line is never blank."""

    def __repr__(self):
        return '""'


ALONE = Alone()


def read_csv(data, wanted):
    rows = csv_rows(data.decode(), len(wanted))
    names = ["" if name in (None, ALONE) else name for name in rows[0]]
    return by_rows(names, rows[1:], wanted)


def csv_rows(text, columns):
    """RFC 4180. An empty field is null, unless it has quotes around it."""
    rows, row, at = [], [], 0
    while at < len(text):
        if text[at] == '"':
            parts, at = [], at + 1
            while True:
                end = text.index('"', at)
                parts.append(text[at:end])
                at = end + 1
                if text[at : at + 1] != '"':
                    break
                parts.append('"')
                at += 1
            field = "".join(parts)
            if columns == 1 and field == "":
                field = ALONE
        else:
            match = re.compile(r'[^,\r\n"]*').match(text, at)
            field, at = match[0] or None, match.end()
        row.append(field)
        if text.startswith("\r\n", at):
            rows.append(row)
            row, at = [], at + 2
        elif text[at : at + 1] == ",":
            at += 1
        else:
            raise ValueError(f"no delimiter at {text[at:at+20]!r}")
    if row:
        raise ValueError("the last line has no end")
    return rows


def read_tsv(data, wanted):
    """An empty field is null or an empty text."""
    text = data.decode()
    if not text.endswith("\n"):
        raise ValueError("the last line has no end")
    escapes = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    unescape = lambda field: re.sub(r"\\(.)", lambda match: escapes[match[1]], field)
    rows = [[unescape(field) or None for field in line.split("\t")] for line in text[:-1].split("\n")]
    if len(wanted) == 1:
        rows = [[unquoted_blank(row[0])] for row in rows]
    return by_rows([name or "" for name in rows[0]], rows[1:], wanted)


def unquoted_blank(field):
    """In a table of one column what is blank, or quotes, has quotes: pandas skips blank lines."""
    blank = field is not None and re.fullmatch(r'"((?:[ \x0b\x0c]|"")*)"', field)
    return (blank[1].replace('""', '"') or None) if blank else field


def read_ndjson(data, wanted):
    lines = data.decode().split("\n")
    if lines.pop() != "":
        raise ValueError("the last line has no end")
    return from_records([record(line) for line in lines], wanted)


def read_json(data, wanted):
    return from_records(record(data.decode()), wanted)


def refuse(constant):
    raise ValueError(f"{constant} is no JSON")


def record(text, constants=refuse):
    """JSON, numbers as they are written."""
    return json.loads(text, parse_float=Number, parse_int=Number, parse_constant=constants, object_pairs_hook=pairs)


class Number(str):
    """A number's digits."""


def pairs(items):
    if len({name for name, _ in items}) < len(items):
        raise ValueError("a record has a name twice")
    return dict(items)


def from_records(records, wanted):
    names = list(records[0]) if records else None
    if names is None:
        return None, wanted, [[] for _ in wanted]
    for one in records:
        if list(one) != names:
            raise ValueError(f"a record has other names: {list(one)}")
    return names, wanted, [[from_json(kind, one[name]) for one in records] for name, kind in zip(names, wanted)]


def from_json(kind, value, no_number=None):
    """A value by its kind. `no_number` is a null in the place of a float."""
    if value is None:
        return no_number if kind.base in ("float32", "float64") else None
    if isinstance(value, bool):
        return value if kind.base == "bool" else Malformed(repr(value))
    if kind.base == "list":
        return [from_json(kind.inner[0], one, no_number) for one in value] if isinstance(value, list) else Malformed(repr(value))
    if kind.base == "struct":
        if not isinstance(value, dict) or tuple(value) != kind.names:
            return Malformed(repr(value))
        return {name: from_json(inner, value[name], no_number) for name, inner in zip(kind.names, kind.inner)}
    if kind.base == "map":
        entries = map_entries(kind, value)
        return Malformed(repr(value)) if entries is None else [[from_json(inner, one, no_number) for inner, one in zip(kind.inner, entry)] for entry in entries]
    is_number = kind.base in ("int", "float32", "float64", "decimal")
    if is_number != isinstance(value, Number) or not isinstance(value, str):
        return Malformed(repr(value))
    return from_text(kind, str(value))


def map_entries(kind, value):
    """Keys and values: an object's if the keys are texts."""
    if kind.inner[0].base in ("text", "uuid"):
        return list(value.items()) if isinstance(value, dict) else None
    is_entries = isinstance(value, list) and all(isinstance(one, dict) and list(one) == ["key", "value"] for one in value)
    return [(one["key"], one["value"]) for one in value] if is_entries else None


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.head, self.rows, self.cell, self.is_null, self.place = [], [], None, False, None

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.place, self.cell = tag, ""
            self.is_null = ("class", "null") in attributes

    def handle_data(self, text):
        if self.place:
            self.cell += text

    def handle_endtag(self, tag):
        if tag == self.place:
            self.rows[-1].append(None if self.is_null else self.cell)
            self.place = None


def page_rows(data):
    page = Page()
    page.feed(data.decode())
    page.close()
    return page.rows


def read_html(data, wanted):
    rows = page_rows(data)
    return by_rows(rows[0], rows[1:], wanted)


# A page has no more rows.
PAGE_ROWS_MAX = 1000


class Moved:
    """A cell of a row in which a wide value has moved the others."""

    def __repr__(self):
        return "moved"


MOVED = Moved()


def read_text(data, wanted):
    """Aligned columns. The page has the same cells: rows that a wide value has moved are not read."""
    lines = data.decode().split("\n")
    names, rule, rows = lines[0], lines[1], lines[2:-1]
    widths = [len(part) for part in rule.split("  ")]
    if len(widths) != len(wanted) or set(rule) - {"-", " "}:
        raise ValueError(f"the rule has not {len(wanted)} columns: {rule!r}")
    begins = [sum(widths[:place]) + 2 * place for place in range(len(widths))]
    full = begins[-1] + widths[-1]

    def cut(line):
        if len(line) > full or any(line[begin - 2 : begin].strip(" ") for begin in begins[1:]):
            return [MOVED] * len(widths)
        return [line[begin : begin + width].strip(" ") for begin, width in zip(begins, widths)]

    cells = [cut(line) for line in rows]
    return cut(names), wanted, [[from_plain(kind, row[place]) for row in cells] for place, kind in enumerate(wanted)]


def from_plain(kind, text):
    if text is MOVED:
        return MOVED
    if text == "-":
        return None
    return Plain(text) if kind.base == "text" else from_text(kind, text)


@dataclass(frozen=True)
class Plain:
    """A text without the blanks around it, its control characters escaped."""

    text: str


# --- Binary ------------------------------------------------------------------


def typed(table):
    columns = kinds.from_table(table)
    return [column.name for column in columns], [column.kind for column in columns], [column.values for column in columns]


def read_arrow(data, wanted):
    return typed(pa.ipc.open_stream(data).read_all())


def read_arrow_file(data, wanted):
    return typed(pa.ipc.open_file(data).read_all())


def read_parquet(data, wanted):
    return typed(pq.read_table(io.BytesIO(data), page_checksum_verification=True))


def read_votable(data, wanted):
    """TABLEDATA as it is written. An empty element is null or an empty text."""
    space = "{http://www.ivoa.net/xml/VOTable/v1.3}"
    root = ElementTree.fromstring(data)
    fields = root.findall(f".//{space}FIELD")
    rows = [[cell.text for cell in row] for row in root.iter(f"{space}TR")]
    nulls = [field.find(f"{space}VALUES") for field in fields]
    nulls = [null.get("null") if null is not None else None for null in nulls]
    columns = [[from_votable_text(kind, row[place], null, field) for row in rows] for place, (kind, null, field) in enumerate(zip(wanted, nulls, fields, strict=True))]
    return [field.get("name") for field in fields], wanted, columns


def from_votable_text(kind, text, null, field):
    if text is None or text == null:
        return None
    if kind.base in ("struct", "map"):
        return from_text(kind, text)
    if kind.base == "list":
        inner = kind.inner[0]
        if field.get("datatype") == "unicodeChar" and field.get("arraysize") == "*":
            return json_or_single(kind, text)
        if inner.base == "bytes" or is_text_array(kind) and "x" not in field.get("arraysize"):
            # An array of one element is its element.
            return [from_votable_text(inner, text, null, field)]
        if is_text_array(kind):
            width = int(field.get("arraysize").split("x")[0])
            return [from_votable_text(inner, part, null, field) for part in votable_binary.texts(text, width)]
        return [from_votable_text(inner, part, null, field) for part in text.split()]
    if kind.base == "bytes":
        return bytes(int(part) for part in text.split())
    if kind.base == "bool":
        return {"T": True, "F": False, "?": None}.get(text, Malformed(text))
    return from_text(kind, text, VOTABLE_NO_NUMBERS, zones=False)


def json_or_single(kind, text):
    """A list that VOTable has no array for is JSON; an array of one element is its element."""
    value = nested(kind, text)
    return [from_text(kind.inner[0], text, VOTABLE_NO_NUMBERS, zones=False)] if value is None else value


def read_votable_binary(data, wanted):
    """Both binary serializations, by astropy but for arrays of texts."""
    from astropy.io import votable

    if any(is_text_array(kind) for kind in wanted):
        names, columns = votable_binary.read(data)
        return names, wanted, [[from_plain_cell(kind, value) for value in values] for kind, values in zip(wanted, columns, strict=True)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = votable.parse_single_table(io.BytesIO(data))
    names = [field.name for field in table.fields]
    columns = []
    for field, kind in zip(table.fields, wanted, strict=True):
        array = table.array[field.ID]
        columns.append([from_numpy(kind, value, mask) for value, mask in zip(array.data, np.ma.getmaskarray(array))])
    return names, wanted, columns


def is_text_array(kind):
    return kind.base == "list" and kind.inner[0].base in ("text", "uuid", "instant", "date", "time", "decimal")


def from_plain_cell(kind, value):
    """A value of `votable_binary`."""
    if value is None:
        return None
    if kind.base in NESTED and value == "":
        return None
    if kind.base in ("struct", "map"):
        return from_text(kind, value)
    if kind.base == "list" and isinstance(value, str):
        return json_or_single(kind, value)
    if kind.base == "list":
        # An array of one element is its element.
        return [from_plain_cell(kind.inner[0], one) for one in (value if isinstance(value, list) else [value])]
    if kind.base == "bytes":
        return bytes(value)
    if isinstance(value, str):
        return None if value == "" and kind.base != "text" else from_text(kind, value, zones=False)
    return value


def from_numpy(kind, value, mask=False):
    """A value of astropy's by its kind. A masked element of an array is null."""
    base = kind.base
    if base in NESTED and isinstance(value, str):
        if value == "":
            return None
        return json_or_single(kind, value) if base == "list" else from_text(kind, value)
    if base == "list" and kind.inner[0].base == "bytes":
        # An array of one element is its element.
        return [from_numpy(kind.inner[0], value, mask)]
    if base == "list":
        masked = isinstance(value, np.ma.MaskedArray)
        if np.all(mask) and np.size(mask) and not (masked and np.size(value)):
            return None
        masks = np.broadcast_to(np.ma.getmaskarray(value) if masked else mask, np.shape(value))
        return [from_numpy(kind.inner[0], one, hidden) for one, hidden in zip(np.ravel(np.ma.getdata(value)).tolist(), np.ravel(masks))]
    if np.ndim(value) == 0 and bool(np.any(mask)):
        return None
    if base == "bytes":
        return None if np.all(mask) and np.size(mask) else bytes(np.ma.getdata(value).astype(np.uint8).tolist())
    if isinstance(value, bytes):
        value = value.decode()
    if base == "bool":
        return bool(value)
    if base == "int" and not isinstance(value, str):
        return int(value)
    if base in ("float32", "float64"):
        return float(value)
    text = str(value)
    if text == "" and base != "text":
        return None
    return from_text(kind, text, zones=False)


def read_fits(data, wanted):
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Names that FITS allows and does not recommend are the original's.
        warnings.simplefilter("ignore", fits.verify.VerifyWarning)
        with fits.open(io.BytesIO(data), character_as_bytes=True, logical_as_bytes=True) as opened:
            opened.verify("exception")
            table = opened[1]
            begin = table.fileinfo()["datLoc"]
            rows_bytes = table.header["NAXIS1"] * table.header["NAXIS2"]
            heap = data[begin + table.header.get("THEAP", rows_bytes) :]
            columns = [[from_fits(kind, value, null) for value, null in fits_cells(table, column, heap)] for column, kind in zip(table.columns, wanted, strict=True)]
            return [column.name for column in table.columns], wanted, columns


def fits_cells(table, column, heap):
    """Each row's value, and what is null in it."""
    null = column.null
    code = re.match(r"\d*([A-Z])([A-Z]?)", column.format)
    raw = table.data.view(np.ndarray)[column.name] if len(table.data) else []
    if code[1] in "PQ":
        for length, place in raw:
            yield heap_cell(column, code[2], heap, int(length), int(place), null)
        return
    width = re.match(r"\((\d+)", column.dim or "")
    if code[1] == "A" and width:
        for row in raw:
            yield text_places(np.asarray(row).tobytes(), int(width[1])), False
        return
    values = table.data[column.name]
    for row in range(len(values)):
        yield values[row], np.asarray(raw[row]) == null if null is not None else False


HEAP_TYPES = {"L": "S1", "B": "u1", "I": ">i2", "J": ">i4", "K": ">i8", "E": ">f4", "D": ">f8", "A": "S1"}


def heap_cell(column, code, heap, length, place, null):
    """An array of the heap, and what is null in it: astropy (8.0) forgets TZERO but for the first row."""
    dtype = np.dtype(HEAP_TYPES[code])
    stored = heap[place : place + length * dtype.itemsize]
    if code == "A":
        width = re.match(r"\((\d+)", column.dim or "")
        return (text_places(stored, int(width[1])) if width else stored.split(b"\0")[0]), False
    array = np.frombuffer(stored, dtype)
    nulls = array == null if null is not None else False
    if code in "LED":
        return array, nulls
    return np.array([int(value) + int(column.bzero or 0) for value in array.tolist()], object), nulls


def text_places(stored, width):
    return votable_binary.texts(stored.decode(), width)


LOGICALS = {b"T": True, b"F": False, b"\0": None, b"": None}


def from_fits(kind, value, null):
    if kind.base == "bool":
        # astropy gives some as text.
        stored = value.encode() if isinstance(value, str) else bytes(value)
        return LOGICALS.get(stored, Malformed(repr(value)))
    if isinstance(value, (bytes, np.bytes_)):
        value = value.decode()
    if kind.base == "list" and kind.inner[0].base == "bytes":
        return [from_fits(kind.inner[0], value, null)]
    if kind.base == "list" and isinstance(value, list):
        return [from_fits(kind.inner[0], one, one is None) for one in value]
    if kind.base == "list":
        nulls = np.broadcast_to(null, np.shape(value))
        return [from_fits(kind.inner[0], one, hidden) for one, hidden in zip(np.ravel(value).tolist(), np.ravel(nulls))]
    if kind.base == "bytes":
        return bytes(np.atleast_1d(value).astype(np.uint8).tolist())
    if np.any(null):
        return None
    if kind.base == "text" and isinstance(value, str):
        return value
    if isinstance(value, str) and value == "":
        return None
    return from_numpy(kind, value)


READERS = {
    "arrow": read_arrow,
    "arrow-file": read_arrow_file,
    "parquet": read_parquet,
    "csv": read_csv,
    "tsv": read_tsv,
    "ndjson": read_ndjson,
    "json": read_json,
    "votable": read_votable,
    "votable-binary": read_votable_binary,
    "votable-binary2": read_votable_binary,
    "fits": read_fits,
    "html": read_html,
    "text": read_text,
}
