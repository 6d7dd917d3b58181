"""Makes a table of nested columns by pyarrow, and compares what the formats of text have of it.

usage: python nested_table.py make SOURCE
       python nested_table.py check SOURCE FOLDER

The files of the folder are called `table.FORMAT`, and `COLUMN.text`, of one column. Each nested cell must
be JSON that is the value which pyarrow has, each length of time a text in ISO 8601, each null no text.
"""

from decimal import Decimal
from html.parser import HTMLParser
import csv
import io
import json
import math
import pathlib
import re
import sys
import uuid
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pyarrow as pa

NAN = float("nan")
T = pa.types
NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}
TEXTS = ["", "a,b", 'say "hi"', "line\nbreak\r\n", "tab\t", "back\\slash", "<td>&amp;</td>", "\x01\x1f", "Ångström 星 😀", "null", "O'Neil", None]


def source():
    """Each column has a null, an empty value where there is one, and nulls within."""
    texts = pa.array(TEXTS, pa.string())
    rows = [{"x": 1, "y": "q"}, {"x": None, "y": ""}, None, {"x": -(2**63), "y": TEXTS[2]}, {"x": 2**63 - 1, "y": TEXTS[6]}]
    struct = pa.struct([("x", pa.int64()), ("y", pa.string())])
    deep = pa.list_(pa.struct([("inner", pa.list_(pa.map_(pa.string(), struct)))]))
    many = pa.struct(
        [
            ("b", pa.bool_()),
            ("f16", pa.float16()),
            ("f32", pa.float32()),
            ("f64", pa.float64()),
            ("u64", pa.uint64()),
            ("d32", pa.decimal32(7, 2)),
            ("d128", pa.decimal128(38, 10)),
            ("d256", pa.decimal256(76, 0)),
            ("negative", pa.decimal128(5, -2)),
            ("bytes", pa.binary()),
            ("fixed", pa.binary(2)),
            ("view", pa.string_view()),
            ("zoned", pa.timestamp("ns", "Europe/Berlin")),
            ("plain", pa.timestamp("ms")),
            ("date", pa.date32()),
            ("time", pa.time64("us")),
            ("duration", pa.duration("ns")),
            ("interval", pa.month_day_nano_interval()),
            ("nothing", pa.null()),
        ]
    )
    full = {
        "b": False,
        "f16": np.float16(0.5),
        "f32": np.float32(0.1),
        "f64": 5e-324,
        "u64": 2**64 - 1,
        "d32": Decimal("-12345.60"),
        "d128": Decimal("1234567890123456789012345678.0000000001"),
        "d256": Decimal("-" + "9" * 76),
        "negative": Decimal("12300"),
        "bytes": b"\x00\xff",
        "fixed": b"ab",
        "view": "longer than a view holds by itself",
        "zoned": 1_700_000_000_123_456_789,
        "plain": -1,
        "date": 19782,
        "time": 86_399_999_999,
        "duration": -93_600_000_000_001,
        "interval": pa.MonthDayNano([14, -3, 1_500_000_000]),
        "nothing": None,
    }
    floats = {"f16": np.float16("nan"), "f32": NAN, "f64": NAN}
    seconds = [0, 93_603, -93_603, 2**63 - 1, -(2**63)]
    entries = [[("a", 1), ("", None)], [], None, [("ü\"'\\", 3)], [("k", 4)]]
    numbers = [[(1, "one"), (-2, None)], [], None, [(3, "")], [(4, TEXTS[2])]]
    dictionary = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0], pa.int8()), pa.StructArray.from_arrays([texts.slice(1, 2)], ["t"]))
    words = pa.DictionaryArray.from_arrays(pa.array([0, 1, None, 1, 0, 0], pa.int8()), pa.array(["é", "b"]))
    ends = pa.array([0, 2, 2, 2, 4, 6], pa.int32())
    mask = pa.array([False, False, True, False, False])
    runs = pa.RunEndEncodedArray.from_arrays(pa.array([2, 6], pa.int32()), pa.array([1.5, None]))
    views = pa.ListViewArray.from_arrays(pa.array([4, 0, 0, 2, 1], pa.int32()), pa.array([2, 3, 0, 1, 5], pa.int32()), pa.array([1.5, 2, None, 4, -0.0, 6], pa.float64()))
    union = pa.UnionArray.from_dense(pa.array([0, 1, 0, 1, 0], pa.int8()), pa.array([0, 0, 1, 1, 2], pa.int32()), [pa.array([7, None, 9], pa.int64()), pa.array(['a"b', "c"])])
    uuids = pa.array([uuid.UUID(int=place).bytes for place in range(5)], pa.binary(16)).cast(pa.uuid())
    parts = pa.array([full, {**full, **floats}, None, {name: None for name in full}, full], many)
    return pa.table(
        {
            "id": pa.array(range(5), pa.int32()),
            "texts": pa.array([TEXTS, [], None, [None], TEXTS[:2]], pa.list_(pa.string())),
            "large": pa.array([TEXTS, [], None, [None], TEXTS[:2]], pa.large_list(pa.large_string())),
            "pairs": pa.array([[{"x": 1, "y": ""}, None], rows[:2], None, rows[3:], rows[:2]], pa.list_(struct, 2)),
            "struct": pa.array(rows, struct),
            "many": parts,
            "deep": pa.array([[{"inner": [[("k", rows[0])], []]}, None], [], None, [{"inner": None}, {"inner": []}], [{"inner": [None, [("k", None)]]}]], deep),
            "map": pa.array(entries, pa.map_(pa.string(), pa.int32())),
            "numbered": pa.array(numbers, pa.map_(pa.int32(), pa.string())),
            "dictionary": dictionary,
            "words": pa.ListArray.from_arrays(ends, words, mask=mask),
            "runs": pa.ListArray.from_arrays(ends, runs, mask=mask),
            "views": views,
            "lists_of_views": pa.ListArray.from_arrays(pa.array([0, 1, 1, 3, 4, 5], pa.int32()), views),
            "union": union,
            "empty": pa.array([{}, {}, None, {}, {}], pa.struct([])),
            "uuids": pa.StructArray.from_arrays([pa.array(range(5)), uuids], ["n", "u"]),
            "seconds": pa.array(seconds, pa.int64()).view(pa.duration("s")),
            "milliseconds": pa.array([93_603_500, None, -1, 0, 1], pa.int64()).view(pa.duration("ms")),
            "nanoseconds": pa.array([93_603_500_000_000, None, -1, 0, 2**63 - 1], pa.int64()).view(pa.duration("ns")),
            "intervals": pa.array([[1, 2, 3], None, [-1, 0, 0], [0, -2, 10**9], [0, 0, 0]], pa.list_(pa.int64())),
        }
    )


def with_intervals(table):
    """pyarrow has no list of lists for these."""
    place = table.schema.get_field_index("intervals")
    parts = table.column(place).to_pylist()
    intervals = pa.array([None if part is None else pa.MonthDayNano(part) for part in parts], pa.month_day_nano_interval())
    return table.set_column(place, "intervals", intervals)


# --- What pyarrow has --------------------------------------------------------


def values(array):
    """Exact values: times as integers in nanoseconds, NaN as None, as JSON has it."""
    kind = array.type
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in values(chunk)]
    if isinstance(kind, pa.UuidType):
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in array.storage.to_pylist()]
    if T.is_dictionary(kind):
        inner = values(array.dictionary)
        return [None if place is None else inner[place] for place in array.indices.to_pylist()]
    if T.is_run_end_encoded(kind):
        return values(pa.compute.run_end_decode(array))
    if T.is_union(kind):
        return array.to_pylist()
    if T.is_struct(kind):
        columns = [values(part) for part in array.flatten()]
        names = [field.name for field in kind]
        rows = zip(*columns) if columns else [()] * len(array)
        return [dict(zip(names, row)) if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]
    if T.is_map(kind):
        return [None if not one.is_valid else [list(pair) for pair in zip(values(one.values.field(0)), values(one.values.field(1)))] for one in array]
    if is_list(kind):
        return [values(one.values) if one.is_valid else None for one in array]
    if T.is_timestamp(kind) or T.is_duration(kind):
        return [None if value is None else value * NANOSECONDS[kind.unit] for value in array.view(pa.int64()).to_pylist()]
    if T.is_time64(kind):
        return [None if value is None else value * NANOSECONDS[kind.unit] for value in array.view(pa.int64()).to_pylist()]
    if T.is_date32(kind):
        return array.view(pa.int32()).to_pylist()
    if T.is_interval(kind):
        return [None if value is None else tuple(value) for value in array.to_pylist()]
    if T.is_floating(kind):
        return [None if value is None or math.isnan(value) else float(value) for value in array.to_pylist()]
    return array.to_pylist()


def is_list(kind):
    return any(is_of(kind) for is_of in (T.is_list, T.is_large_list, T.is_fixed_size_list, T.is_list_view))


# --- What the file has -------------------------------------------------------


class Number(str):
    """A number's digits."""


def parsed(text):
    def once(pairs):
        assert len({name for name, _ in pairs}) == len(pairs), f"a name twice: {text}"
        return dict(pairs)

    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    return json.loads(text, parse_int=Number, parse_float=Number, parse_constant=refuse, object_pairs_hook=once)


def decoded(kind, value):
    """A value of JSON as what its type says it is."""
    if value is None:
        return None
    if T.is_dictionary(kind) or T.is_run_end_encoded(kind):
        return decoded(kind.value_type, value)
    if T.is_union(kind):
        return int(value) if isinstance(value, Number) else value
    if T.is_struct(kind):
        assert list(value) == [field.name for field in kind], f"{list(value)} for {kind}"
        return {field.name: decoded(field.type, value[field.name]) for field in kind}
    if T.is_map(kind):
        pairs = value.items() if T.is_string(kind.key_type) else [entry(one) for one in value]
        return [[decoded(kind.key_type, key), decoded(kind.item_type, one)] for key, one in pairs]
    if is_list(kind):
        assert isinstance(value, list), f"{value!r} for {kind}"
        return [decoded(kind.value_type, one) for one in value]
    if T.is_boolean(kind):
        assert isinstance(value, bool)
        return value
    is_number = T.is_integer(kind) or T.is_floating(kind) or T.is_decimal(kind)
    assert is_number == isinstance(value, Number) and isinstance(value, str), f"{value!r} for {kind}"
    return leaf(kind, str(value))


def entry(one):
    assert list(one) == ["key", "value"], one
    return one["key"], one["value"]


def leaf(kind, text):
    if T.is_integer(kind):
        return int(text)
    if T.is_float16(kind) or T.is_float32(kind):
        return float(np.float32(text))
    if T.is_floating(kind):
        return float(text)
    if T.is_decimal(kind):
        assert len(text.partition(".")[2]) == max(kind.scale, 0), f"{text} for {kind}"
        return Decimal(text)
    if isinstance(kind, pa.UuidType):
        return text
    if T.is_binary(kind) or T.is_fixed_size_binary(kind):
        return bytes.fromhex(text)
    if T.is_timestamp(kind):
        assert text.endswith("Z") == (kind.tz is not None), f"{text} for {kind}"
        day, _, time = text.removesuffix("Z").partition("T")
        return days(day) * 86_400 * 10**9 + of_day(time)
    if T.is_date(kind):
        return days(text)
    if T.is_time(kind):
        return of_day(text)
    if T.is_duration(kind):
        return duration(text)
    if T.is_interval(kind):
        return interval(text)
    return text


def days(text):
    return int(np.datetime64(text, "D").astype(np.int64))


def of_day(text):
    hours, minutes, seconds = text.split(":")
    whole, _, fraction = seconds.partition(".")
    return (int(hours) * 3600 + int(minutes) * 60 + int(whole)) * 10**9 + int(fraction.ljust(9, "0"))


PARTS = re.compile(r"(-?)P(?:(-?\d+)Y)?(?:(-?\d+)M)?(?:(-?\d+)D)?(?:T(?:(-?\d+)H)?(?:(-?\d+)M)?(?:(-?)(\d+)(?:\.(\d{1,9}))?S)?)?\Z")


def interval(text):
    """Months, days and nanoseconds."""
    match = PARTS.match(text)
    assert match and text[-1] not in "PT", f"{text!r} is no duration"
    sign, years, months, number_of_days, hours, minutes, minus, seconds, fraction = match.groups()
    sign = -1 if sign else 1
    time = (int(hours or 0) * 3600 + int(minutes or 0) * 60) * 10**9
    time += (-1 if minus else 1) * (int(seconds or 0) * 10**9 + int((fraction or "").ljust(9, "0")))
    return sign * (int(years or 0) * 12 + int(months or 0)), sign * int(number_of_days or 0), sign * time


def duration(text):
    import pandas

    months, number_of_days, time = interval(text)
    assert months == 0
    value = number_of_days * 86_400 * 10**9 + time
    if abs(value) < 2**63:
        assert pandas.Timedelta(text).value == value, f"pandas has {pandas.Timedelta(text).value} for {text}"
    return value


# --- Formats -----------------------------------------------------------------


def read_csv(data):
    rows = list(csv.reader(io.StringIO(data.decode(), newline=""), strict=True))
    return rows[0], [[cell or None for cell in row] for row in rows[1:]]


def read_tsv(data):
    escapes = {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}
    unescaped = lambda field: re.sub(r"\\(.)", lambda match: escapes[match[1]], field)
    rows = [[unescaped(field) or None for field in line.split("\t")] for line in data.decode().split("\n")[:-1]]
    return rows[0], rows[1:]


def read_votable(data):
    space = "{http://www.ivoa.net/xml/VOTable/v1.3}"
    root = ElementTree.fromstring(data)
    names = [field.get("name") for field in root.iter(f"{space}FIELD")]
    return names, [[cell.text for cell in row] for row in root.iter(f"{space}TR")]


def read_votable_binary(data):
    from astropy.io import votable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        table = votable.parse_single_table(io.BytesIO(data))
    columns = []
    for field in table.fields:
        array = table.array[field.ID]
        is_null = [bool(np.all(mask) and np.size(mask)) for mask in np.ma.getmaskarray(array)]
        columns.append([None if null or str(cell) == "" else cell for cell, null in zip(array.data, is_null)])
    return [field.name for field in table.fields], list(map(list, zip(*columns)))


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.rows, self.cell, self.is_null = [], None, False

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.cell, self.is_null = "", ("class", "null") in attributes

    def handle_data(self, text):
        if self.cell is not None:
            self.cell += text

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self.rows[-1].append(None if self.is_null else self.cell)
            self.cell = None


def read_html(data):
    page = Page()
    page.feed(data.decode())
    return page.rows[0], page.rows[1:]


def read_json(data):
    return records(parsed(data.decode()))


def read_ndjson(data):
    return records([parsed(line) for line in data.decode().splitlines()])


def records(rows):
    return list(rows[0]), [list(row.values()) for row in rows]


READERS = {"csv": read_csv, "tsv": read_tsv, "votable": read_votable, "votable-binary": read_votable_binary, "votable-binary2": read_votable_binary, "html": read_html, "json": read_json, "ndjson": read_ndjson}
# Native arrays of VOTable, which other tests read.
ARRAYS = ("runs", "views")


def is_json(kind):
    return T.is_nested(kind) or T.is_dictionary(kind) and T.is_nested(kind.value_type)


def check_cells(what, field, wanted, cells, is_record):
    for row, (want, cell) in enumerate(zip(wanted, cells, strict=True)):
        try:
            if cell is None:
                found = None
            elif is_record:
                found = decoded(field.type, cell)
            elif is_json(field.type):
                text = str(cell)
                # For people, NaN is shown.
                shown = re.sub(r"(?<=:)NaN", "null", text) if what in ("html", "text") else text
                found = decoded(field.type, parsed(shown))
            else:
                found = leaf(field.type, str(cell))
        except Exception as error:
            sys.exit(f"{what}, column {field.name}, row {row}: {type(error).__name__}: {error}: {cell!r}"[:2000])
        if not same(want, found):
            sys.exit(f"{what}, column {field.name}, row {row}: wanted {want!r}, found {found!r}"[:2000])


def same(want, found):
    if isinstance(want, float):
        return isinstance(found, float) and want == found and math.copysign(1, want) == math.copysign(1, found)
    if isinstance(want, dict):
        return isinstance(found, dict) and list(want) == list(found) and all(same(want[name], found[name]) for name in want)
    if isinstance(want, list):
        return isinstance(found, list) and len(want) == len(found) and all(map(same, want, found))
    return type(want) is type(found) and want == found


def check(source, folder):
    with pa.ipc.open_stream(str(source)) as stream:
        table = stream.read_all()
    wanted = {name: values(table.column(name)) for name in table.column_names}
    checked = 0
    for path in sorted(folder.iterdir()):
        form = path.suffix[1:]
        data = path.read_bytes()
        if form == "text":
            field = table.schema.field(path.stem)
            cells = [None if line == "-" else line.strip(" ") for line in data.decode().split("\n")[2:-1]]
            check_cells("text", field, wanted[field.name], cells, False)
            checked += 1
            continue
        names, rows = READERS[form](data)
        assert names == table.column_names, f"{form}: {names}"
        for place, field in enumerate(table.schema):
            if form.startswith("votable") and field.name in ARRAYS:
                continue
            check_cells(form, field, wanted[field.name], [row[place] for row in rows], form in ("json", "ndjson"))
            checked += 1
        if form == "csv":
            by_duckdb(path, table, wanted)
    print(f"{checked} columns")


def by_duckdb(path, table, wanted):
    """DuckDB takes the texts for JSON, and makes maps of those whose keys are no texts."""
    import duckdb

    rows = f"read_csv('{path}', all_varchar = true, header = true, delim = ',', quote = '\"', escape = '\"')"
    for field in table.schema:
        if is_json(field.type):
            valid = duckdb.sql(f'SELECT count("{field.name}"), count_if(json_valid("{field.name}")) FROM {rows}').fetchall()[0]
            present = sum(value is not None for value in wanted[field.name])
            assert valid == (present, present), f"{field.name}: {valid} of {present}"
    query = f"""SELECT map_from_entries(from_json("numbered", '[{{"key":"INTEGER","value":"VARCHAR"}}]')) FROM {rows}"""
    maps = [None if one is None else dict(one) for (one,) in duckdb.sql(query).fetchall()]
    assert maps == [None if one is None else {key: value for key, value in one} for one in wanted["numbered"]], maps


if __name__ == "__main__":
    if sys.argv[1] == "make":
        made = with_intervals(source())
        with pa.ipc.new_stream(sys.argv[2], made.schema) as writer:
            writer.write_table(made)
    else:
        check(pathlib.Path(sys.argv[2]), pathlib.Path(sys.argv[3]))
