"""CSV, TSV and NDJSON files of nasty texts, by Python, pandas, polars and DuckDB.

The program chooses the types. Whatever it chooses, each value must be what the file's text says,
exactly: `check` says so, field by field, and that columns of nothing but numbers are numbers.
"""

import csv
from decimal import Decimal
import gzip
import io
import json
import math
import re

import ours
from case import Case
from compare import Difference, same_float, shown

# A column takes its fields from one of these, and now and then a few from another.
POOLS = {
    "integers": ["0", "1", "-1", "42", "-17", "9007199254740993", "9223372036854775807", "-9223372036854775808"],
    "small": ["1", "2", "3"],
    "unsigned": ["9223372036854775808", "18446744073709551615", "1"],
    "huge": ["18446744073709551616", "170141183460469231731687303715884105727", "99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"],
    "too huge": ["170141183460469231731687303715884105728000", "1" + "0" * 80],
    "zeros": ["007", "01569", "00", "-01", "0123.5", "00:30"],
    "floats": ["1.5", "-0.25", "0.1", "1e5", "1E-3", "2.5e+10", "1e308", "5e-324", "123456789.123456789", "0.30000000000000004", "-0.0", "1e400", "1e-400"],
    "no numbers": ["NaN", "inf", "-inf", "nan", "Infinity", "-Infinity", "NAN", "INF"],
    "signs": ["+41.2", "+5", "-5", "+0", "+1e3"],
    "half": [".5", "5.", "-.5", "1.", "1e", "1_000", "0x10", "1,5", "1 000", " 1", "1 ", "١"],
    "decimals": ["0.10", "1.50", "100.00", "12345678901234567.89"],
    "booleans": ["true", "false"],
    "other booleans": ["True", "FALSE", "T", "f", "yes", "0", "1"],
    "dates": ["2024-02-29", "1970-01-01", "0001-01-01", "9999-12-31", "1582-10-10"],
    "no dates": ["2024-02-30", "2023-02-29", "2024-13-01", "0000-00-00", "2024-1-5", "20240229", "29/02/2024", "12024-01-01"],
    "times": ["2024-02-29T12:34:56", "1969-12-31 23:59:59", "2024-02-29T12:34:56.5", "2024-02-29T12:34:56.123456", "2024-02-29T12:34:56.123456789", "0001-01-01T00:00:00", "9999-12-31T23:59:59"],
    "zoned": ["2024-02-29T12:34:56Z", "2024-02-29T12:34:56+02:00", "2024-02-29 12:34:56-05:30", "2024-02-29T12:34:56.5+0100"],
    "no times": ["2024-02-29T23:59:60", "2024-02-29T24:00:00", "2024-02-29T25:00:00", "2024-02-30T00:00:00", "2024-02-29T12:34", "2024-02-29T12:34:56.1234567891", "12:34:56", "2024-02-29T"],
    "texts": ["a", "b c", "M31", "ü", "星", "😀", "null", "NULL", "NA", "-", "#x", "%41", "=1+1", "\u00a0", "  blanks  "],
    "quotes": ['say "hi"', '"', "a,b", "line\nbreak", "crlf\r\nhere", "tab\there", "back\\slash", "\\n", "\\t", "'", ";"],
    "nothing": [""],
}


def field_columns(random, rows):
    """Columns of texts; None is a null."""
    columns = []
    for _ in range(random.randint(1, 5)):
        main = POOLS[random.choice(list(POOLS))]
        fields = [random.choice(main) for _ in range(rows)]
        if random.random() < 0.45:
            other = POOLS[random.choice(list(POOLS))]
            share = random.choice([0.05, 0.3])
            fields = [random.choice(other) if random.random() < share else field for field in fields]
        share = random.choice([0, 0, 0.2])
        columns.append([None if random.random() < share else field for field in fields])
    return columns


def named(random, columns):
    pool = ["a", "b", "ra", "with space", "ü", "a,b", 'q"q', "UPPER", "1", "x.y"]
    return [f"{random.choice(pool)}{place}" for place in range(len(columns))]


def many(random):
    return random.choice([1, 2, 3, 5, 10, 30, 30, 200])


# --- CSV and TSV -------------------------------------------------------------


def csv_by_python(random, folder):
    columns = field_columns(random, many(random))
    names = named(random, columns)
    end = random.choice(["\n", "\r\n"])
    quoting = random.choice(["needed", "needed", "all", "texts"])
    lines = [",".join(csv_field(name, False) for name in names)]
    for row in zip(*columns):
        lines.append(",".join("" if field is None else csv_field(field, quoting == "all" or quoting == "texts" and not re.fullmatch(r"[-+0-9.eE]*", field)) for field in row))
    text = end.join(lines) + (end if random.random() < 0.85 or lines[-1] == "" else "")
    how = random.choice(["plain", "plain", "plain", "mark", "gzip", "capitals"])
    return text_case(folder, "csv", text, how, f"python, {quoting}, {end!r}")


def csv_field(field, always):
    if always or field == "" or any(mark in field for mark in ',"\r\n'):
        return '"' + field.replace('"', '""') + '"'
    return field


def text_case(folder, suffix, text, how, settings):
    data = text.encode()
    if how == "mark":
        data = b"\xef\xbb\xbf" + data
    if how in ("gzip", "capitals"):
        data = gzip.compress(data, mtime=0)
        suffix = f"{suffix}.gz" if how == "gzip" else f"{suffix}.gz".upper()
    path = folder / f"table.{suffix}"
    path.write_bytes(data)
    kind = "tsv" if suffix.startswith("tsv") else "csv"
    return Case([path], None, f"{settings}, {how}", check=lambda found: check_fields(rows_of(text, kind), found))


def tsv_by_python(random, folder):
    """The program's own escapes."""
    columns = field_columns(random, many(random))
    names = named(random, columns)
    escape = lambda field: "".join({"\t": "\\t", "\n": "\\n", "\r": "\\r", "\\": "\\\\"}.get(one, one) for one in field)
    lines = ["\t".join(escape(name) for name in names)]
    lines += ["\t".join("" if field is None else escape(field) for field in row) for row in zip(*columns)]
    if len(columns) == 1:
        # A blank line is no row to some readers, and quotes are no way out.
        lines = [line if line.strip() else "x" for line in lines]
    text = "\n".join(lines) + "\n"
    return text_case(folder, "tsv", text, random.choice(["plain", "plain", "mark", "gzip"]), "python, escapes")


def csv_by_pandas(random, folder):
    import pandas

    columns = field_columns(random, many(random))
    frame = pandas.DataFrame(dict(zip(named(random, columns), columns)), dtype=object)
    text = frame.to_csv(index=random.random() < 0.2, lineterminator=random.choice(["\n", "\r\n"]), quoting=random.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]))
    return text_case(folder, "csv", text, "plain", "pandas")


def csv_by_duckdb(random, folder):
    import duckdb
    import pyarrow

    columns = field_columns(random, many(random))
    made = pyarrow.table({name: pyarrow.array(fields, pyarrow.string()) for name, fields in zip(named(random, columns), columns)})
    path = folder / "made.csv"
    duckdb.from_arrow(made).write_csv(str(path))
    text = path.read_bytes().decode()
    path.unlink()
    return text_case(folder, "csv", text, "plain", "DuckDB")


def csv_by_polars(random, folder):
    """Typed columns, as text: what the types say is not lost."""
    import polars
    import pyarrow

    import make_parquet
    import values

    table = values.any_table(random)
    usable = [name for place, name in enumerate(table.column_names) if make_parquet.polars_takes(table.schema.field(place).type) and table.column_names.count(name) == 1 and not pyarrow.types.is_duration(table.schema.field(place).type)]
    usable = [name for name in usable if not pyarrow.types.is_binary(table.schema.field(name).type) and "binary" not in str(table.schema.field(name).type)]
    if not usable:
        table, usable = pyarrow.table({"f": [1.0, float("nan"), None]}), ["f"]
    text = polars.from_arrow(table.select(usable)).write_csv()
    return text_case(folder, "csv", text, "plain", f"polars, {[str(table.schema.field(name).type) for name in usable]}")


def rows_of(text, kind):
    """The names, and rows of fields: (text, quoted). An independent reading of RFC 4180 and of TSV."""
    if kind == "tsv":
        unescape = lambda field: re.sub(r"\\(.)", lambda match: {"t": "\t", "n": "\n", "r": "\r", "\\": "\\"}.get(match[1], match[0]), field)
        lines = text.removesuffix("\n").split("\n")
        rows = [[(unescape(field), False) for field in line.split("\t")] for line in lines]
    else:
        rows = quoted_rows(text)
    # A column without a name is called by its place.
    return [name or f"column{place}" for place, (name, _) in enumerate(rows[0], 1)], rows[1:]


def quoted_rows(text):
    rows, row, at = [], [], 0
    pattern = re.compile(r'"((?:[^"]|"")*)"|([^,"\r\n]*)')
    while at < len(text):
        match = pattern.match(text, at)
        quoted = match[1] is not None
        row.append((match[1].replace('""', '"') if quoted else match[2], quoted))
        at = match.end()
        if text.startswith(",", at):
            at += 1
            if at == len(text):
                row.append(("", False))
            continue
        end = re.compile(r"\r\n|\n|\r|\Z").match(text, at)
        if end is None:
            raise ValueError(f"no delimiter at {text[at:at+20]!r}")
        rows.append(row)
        row, at = [], end.end()
    # A last line that ends with a delimiter.
    return rows + [row] if row else rows


def check_fields(original, found):
    names, rows = original
    if [column.name for column in found] != [name for name in names]:
        return [Difference("", None, repr(names), repr([column.name for column in found]), "names")]
    differences = []
    for place, column in enumerate(found):
        fields = [row[place] for row in rows]
        if len(fields) != len(column.values):
            return [Difference(column.name, None, f"{len(fields)} rows", f"{len(column.values)} rows", "rows")]
        wrong = [(row, field, value) for row, (field, value) in enumerate(zip(fields, column.values)) if not field_is(field, column.kind, value)]
        differences += [Difference(column.name, row, shown(field[0]), f"{shown(value)} as {column.kind}", f"text as {column.kind}") for row, field, value in wrong[:3]]
        weak = weaker(fields, column.kind)
        if weak and not wrong:
            differences.append(Difference(column.name, None, weak, str(column.kind), "weak type"))
    return differences


INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]*)\Z")
# Digits of a fixed width, as 0123.5, are numbers; 007 and 01e5 are not.
FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)|[0-9]+\.[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?\Z")
NO_NUMBER = re.compile(r"[+-]?(nan|inf|infinity)\Z", re.IGNORECASE)
EXACT_MAX = 2**53


def field_is(field, kind, value):
    """Whether a value is what a field of a file says."""
    text, quoted = field
    if value is None:
        # What is nothing is null, but a text in quotes.
        return text == "" and not (quoted and kind.base == "text")
    if kind.base == "text":
        return value == text and (text != "" or quoted)
    # Blanks around what is no text are nothing.
    text = text.strip(" ")
    if kind.base == "int":
        return INTEGER.match(text) is not None and not text.startswith("-0") and int(text) == value
    if kind.base == "decimal":
        return FLOAT.match(text) is not None and Decimal(text) == value
    if kind.base in ("float32", "float64"):
        return float_is(text, value)
    if kind.base == "bool":
        return {"true": True, "false": False}.get(text.lower()) == value
    if kind.base == "date":
        return ours.days(text) == value
    if kind.base == "time":
        return ours.nanoseconds(text) == value
    if kind.base == "instant":
        return instant_is(text, kind, value)
    return False


def float_is(text, value):
    if NO_NUMBER.match(text):
        return same_float(float(text), value)
    if not FLOAT.match(text):
        return False
    if INTEGER.match(text) and abs(int(text)) > EXACT_MAX and int(text) != value:
        return False
    # What no float holds is no float.
    if math.isinf(float(text)) or float(text) == 0 and re.search("[1-9]", re.split("[eE]", text)[0]):
        return False
    return same_float(float(text), value)


OFFSET = re.compile(r"(.*)([+-]\d\d):?(\d\d)\Z")


def instant_is(text, kind, value):
    text = text.replace(" ", "T", 1)
    offset, zoned = 0, text.endswith("Z")
    match = OFFSET.match(text.removesuffix("Z"))
    if "T" in text and match and match[1].count(":") == 2:
        sign = -1 if match[2][0] == "-" else 1
        offset, zoned, text = sign * (abs(int(match[2])) * 60 + int(match[3])), True, match[1]
    if "T" not in text:
        text += "T00:00:00"
    instant = ours.instant(text.removesuffix("Z"), False)
    return instant is not None and zoned == kind.zoned and instant - offset * 60 * 10**9 == value


def weaker(fields, kind):
    """What a column of nothing but numbers should be, if it is less."""
    texts = [text for text, quoted in fields if text != ""]
    if not texts or kind.base != "text":
        return None
    if all(re.fullmatch(r"0|-?[1-9][0-9]*", text) and -(2**63) <= int(text) < 2**63 for text in texts):
        return "integers"
    if all(re.fullmatch(r"-?(0|[1-9][0-9]{0,9})(\.[0-9]{1,15})?", text) for text in texts):
        return "numbers"
    if all(ours.days(text) is not None for text in texts):
        return "dates"
    return None


# --- NDJSON ------------------------------------------------------------------


def json_value(random, field):
    """A field as JSON: a number where it is one, now and then as a string."""
    if field is None:
        return "null"
    if field in ("true", "false"):
        return field
    if re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", field) and random.random() < 0.9:
        return field
    return json.dumps(field, ensure_ascii=random.random() < 0.3)


NESTED = ['{"a":1}', '{"a":null,"b":"x"}', "[1,2]", "[]", "[null]", '["a",null]', "{}"]


def ndjson_by_python(random, folder):
    columns = field_columns(random, many(random))
    names = named(random, columns)
    texts = [[json_value(random, field) for field in column] for column in columns]
    if random.random() < 0.2:
        few = random.sample(NESTED, random.randint(1, 3))
        texts.append([random.choice(few) for _ in texts[0]])
        names.append("nested")
    lines = []
    for row in zip(*texts):
        kept = [(name, text) for name, text in zip(names, row) if text != "null" or random.random() < 0.5]
        if random.random() < 0.1:
            random.shuffle(kept)
        lines.append("{" + ",".join(f"{json.dumps(name)}:{text}" for name, text in kept) + "}")
    end = random.choice(["\n", "\n", "\r\n"])
    text = end.join(lines) + (end if random.random() < 0.85 else "")
    return ndjson_case(random, folder, text, "python")


def ndjson_by_others(random, folder):
    import make_parquet
    import polars
    import values

    table = values.any_table(random)
    usable = [name for place, name in enumerate(table.column_names) if make_parquet.polars_takes(table.schema.field(place).type) and table.column_names.count(name) == 1 and "binary" not in str(table.schema.field(place).type) and "duration" not in str(table.schema.field(place).type)]
    frame = polars.from_arrow(table.select(usable)) if usable and len(table) else polars.DataFrame({"f": [1.0, None]})
    return ndjson_case(random, folder, frame.write_ndjson(), f"polars, {frame.dtypes}")


def ndjson_case(random, folder, text, settings):
    how = random.choice(["plain", "plain", "plain", "mark", "gzip"])
    data = text.encode()
    data = b"\xef\xbb\xbf" + data if how == "mark" else gzip.compress(data, mtime=0) if how == "gzip" else data
    path = folder / f"table.{random.choice(['ndjson', 'jsonl'])}{'.gz' if how == 'gzip' else ''}"
    path.write_bytes(data)
    return Case([path], None, f"{settings}, {how}", check=lambda found: check_records([ours.record(line) for line in text.splitlines() if line.strip()] if "\u2028" not in text and "\x85" not in text else [ours.record(line) for line in re.split(r"\r?\n", text) if line.strip()], found))


def check_records(records, found):
    names = list(dict.fromkeys(name for one in records for name in one))
    if sorted(names) != sorted(column.name for column in found):
        return [Difference("", None, repr(names), repr([column.name for column in found]), "names")]
    differences = []
    for column in found:
        if len(records) != len(column.values):
            return [Difference(column.name, None, f"{len(records)} rows", f"{len(column.values)} rows", "rows")]
        wrong = [(row, one.get(column.name), value) for row, (one, value) in enumerate(zip(records, column.values)) if not json_is(one.get(column.name), column.kind, value)]
        differences += [Difference(column.name, row, shown(want), f"{shown(value)} as {column.kind}", f"JSON as {column.kind}") for row, want, value in wrong[:3]]
    return differences


def json_is(want, kind, value):
    """Whether a value is what JSON says."""
    if want is None or value is None:
        return want is None and (value is None or kind.base == "null")
    if kind.base == "list":
        return isinstance(want, list) and len(want) == len(value) and all(json_is(one, kind.inner[0], other) for one, other in zip(want, value))
    if kind.base == "struct":
        return isinstance(want, dict) and set(want) <= set(value) and all(json_is(want.get(name), inner, value[name]) for name, inner in zip(kind.names, kind.inner))
    if kind.base == "bool":
        return want is value
    if kind.base == "text":
        return text_is(want, value)
    if isinstance(want, (bool, list, dict)):
        return False
    # A string of digits is no number; a string that is a date may be one.
    is_number = isinstance(want, ours.Number)
    if is_number != (kind.base in ("int", "decimal", "float32", "float64")):
        return False
    return field_is((str(want), not is_number), kind, value)


def text_is(want, value):
    """A string as it is; in a column of several types what is no string is its JSON."""
    if isinstance(want, bool):
        return value == ("true" if want else "false")
    if isinstance(want, str):
        return value == str(want)
    try:
        return ours.record(value) == want
    except ValueError:
        return False


MAKERS = [(csv_by_python, 4), (tsv_by_python, 2), (csv_by_pandas, 1), (csv_by_duckdb, 1), (csv_by_polars, 1), (ndjson_by_python, 3), (ndjson_by_others, 1)]
