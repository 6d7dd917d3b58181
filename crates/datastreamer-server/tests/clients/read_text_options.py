"""Reads CSV and TSV files with the program, pandas and DuckDB, each with the same options, and compares
each value.

usage: python read_text_options.py PROGRAM

The files are drawn at random, in several dialects and encodings. Where the readers differ by design,
a file has no such value: the program's tests state these.
"""

import decimal
import gzip
import math
import random
import subprocess
import sys

import duckdb
import pandas
import pyarrow
import pyarrow.ipc

ROWS = 2_000
NULLS = 0.1
TYPES = {
    "id": ("int32", "INTEGER", "Int32"),
    "small": ("int8", "TINYINT", "Int8"),
    "code": ("text", "VARCHAR", "string"),
    "name": ("text", "VARCHAR", "string"),
    "mag": ("float64", "DOUBLE", "float64"),
    "flux": ("float32", "FLOAT", "float32"),
    "price": ("decimal(12,2)", "DECIMAL(12,2)", "string"),
    "flag": ("boolean", "BOOLEAN", "string"),
    "day": ("date", "DATE", "string"),
    "clock": ("time", "TIME", "string"),
    "seen": ("timestamp", "TIMESTAMP", "string"),
}


def table(draw, texts):
    makers = {
        "id": lambda row: row,
        "small": lambda row: draw.randrange(-128, 128),
        "code": lambda row: f"{draw.randrange(100_000):05}",
        "name": lambda row: draw.choice(texts),
        "mag": lambda row: round(draw.gauss(0, 10), draw.randrange(6)),
        "flux": lambda row: draw.randrange(-4096, 4096) / 64,
        "price": lambda row: decimal.Decimal(draw.randrange(-(10**11), 10**11)).scaleb(-2),
        "flag": lambda row: draw.random() < 0.5,
        "day": lambda row: f"{draw.randrange(1700, 2200):04}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}",
        "clock": lambda row: f"{draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02}.{draw.randrange(10**6):06}",
        "seen": lambda row: f"{draw.randrange(1700, 2200):04}-02-28 {draw.randrange(24):02}:00:{draw.randrange(60):02}.{draw.randrange(1000):03}",
    }
    return {
        name: [None if name != "id" and draw.random() < NULLS else make(row) for row in range(ROWS)]
        for name, make in makers.items()
    }


def text_of(value, null, mark):
    if value is None:
        return null, False
    if isinstance(value, bool):
        return str(value).lower(), False
    if isinstance(value, (float, decimal.Decimal)):
        return str(value).replace(".", mark), False
    return str(value), isinstance(value, str)


def file_text(draw, made, case):
    """Writes a file as no writer of these readers does: quotes where they need not be, comments, any end of a line."""
    quote, delimiter, end = case["quote"], case["delimiter"], case["end"]

    def cell(text, may_quote):
        must = any(mark in text for mark in (delimiter, quote, "\n", "\r", "#"))
        if must or (may_quote and draw.random() < 0.3):
            return quote + text.replace(quote, quote * 2) + quote
        return text

    lines = []
    if case["header"]:
        lines.append(delimiter.join(made))
    for row in zip(*made.values()):
        if case["comment"] and draw.random() < 0.02:
            lines.append("# a comment" + delimiter + quote)
        cells = (text_of(value, case["null"], case["decimal"]) for value in row)
        lines.append(delimiter.join(cell(text, may_quote) for text, may_quote in cells))
    return end.join(lines) + end


def run(program, path, flags):
    written = subprocess.run([program, "cat", "--format", "arrow", *flags, path], capture_output=True)
    if written.returncode:
        sys.exit(f"{path} {flags}: {written.stderr.decode()}")
    return pyarrow.ipc.open_stream(written.stdout).read_all()


def by_duckdb(path, case):
    encoding = {"utf-8": "utf-8", "latin-1": "latin-1", "utf-16": "utf-16"}[case["encoding"]]
    columns = ", ".join(f"'{name}': '{sql}'" for name, (_, sql, _) in TYPES.items())
    quote = case["quote"].replace("'", "''")
    query = f"""SELECT * FROM read_csv('{path}', delim = '{case["delimiter"]}', quote = '{quote}', escape = '{quote}',
        header = {case["header"]}, nullstr = ['', '{case["null"]}'], encoding = '{encoding}',
        decimal_separator = '{case["decimal"]}', columns = {{{columns}}}, auto_detect = false, parallel = false,
        new_line = '{case["end"].encode("unicode_escape").decode()}'
        {", comment = '#'" if case["comment"] else ""})"""
    return duckdb.sql(query).to_arrow_table()


def by_pandas(path, case):
    frame = pandas.read_csv(
        path,
        sep=case["delimiter"],
        quotechar=case["quote"],
        header=0 if case["header"] else None,
        names=list(TYPES),
        keep_default_na=False,
        na_values=["", case["null"]],
        encoding=case["encoding"],
        decimal=case["decimal"],
        comment="#" if case["comment"] else None,
        dtype={name: kind for name, (_, _, kind) in TYPES.items()},
    )
    return {name: [None if pandas.isna(value) else value for value in frame[name]] for name in frame}


def same(one, other):
    if isinstance(one, float) and isinstance(other, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    return one == other


def compare(case, name, reader, ours, theirs):
    for row, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        if not same(one, other):
            sys.exit(f"{case}: {name}, row {row}: we have {one!r}, {reader} has {other!r}")


def as_pandas(name, value, mark):
    """Makes of our value the text that pandas has left as it was, where it knows no such type."""
    if value is None or TYPES[name][2] != "string" or TYPES[name][0] == "text":
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, decimal.Decimal):
        return str(value).replace(".", mark)
    return value


def main(program):
    draw = random.Random(11)
    cases = 0
    for encoding in ("utf-8", "latin-1", "utf-16"):
        wide = ["ü 星", "€"] if encoding != "latin-1" else ["ü", "ÿ£"]
        for delimiter, quote, mark, null, comment, header in (
            (";", '"', ",", "NA", False, True),
            ("|", "'", ".", "-", True, True),
            ("\t", '"', ",", "NULL", False, False),
            (",", "'", ".", "n/a", True, False),
        ):
            case = {
                "encoding": encoding,
                "delimiter": delimiter,
                "quote": quote,
                "decimal": mark,
                "null": null,
                "comment": comment,
                "header": header,
                "end": draw.choice(["\n", "\r\n"]),
            }
            texts = ["M 31", "a;b,c|d\te", 'say "hi"', "it's", "x y", *wide]
            # pandas takes `#` behind values for a comment.
            texts += [] if comment else ["line\nbreak", "#1"]
            made = table(draw, texts)
            path = f"t{cases}.csv" + (".gz" if encoding == "utf-8" else "")
            bytes = file_text(draw, made, case).encode(encoding)
            with gzip.open(path, "wb") if path.endswith(".gz") else open(path, "wb") as file:
                file.write(bytes)
            flags = ["--delimiter", delimiter, "--quote", quote, "--decimal", mark, "--null", null]
            flags += ["--header", str(header).lower(), "--encoding", encoding]
            flags += ["--comment", "#"] if comment else []
            flags += [] if header else ["--names", ",".join(TYPES)]
            declared = [flag for name, (kind, _, _) in TYPES.items() for flag in ("--type", f"{name}={kind}")]
            ours = run(program, path, flags + declared)
            for name, values in made.items():
                if TYPES[name][0] not in ("date", "time", "timestamp"):
                    compare(case, name, "the maker", ours[name].to_pylist(), values)
            theirs = by_duckdb(path, case)
            for name in TYPES:
                compare(case, name, "duckdb", ours[name].to_pylist(), theirs[name].to_pylist())
            theirs = by_pandas(path, case)
            texts_of = {
                "day": lambda value: value.isoformat(),
                "clock": lambda value: value.isoformat(timespec="microseconds"),
                "seen": lambda value: value.isoformat(sep=" ", timespec="milliseconds"),
            }
            for name in TYPES:
                shown = texts_of.get(name, lambda value: as_pandas(name, value, mark))
                values = [None if value is None else shown(value) for value in ours[name].to_pylist()]
                compare(case, name, "pandas", values, theirs[name])
            # Without types: the inferred ones hold the same values.
            inferred = run(program, path, flags)
            for name in ("id", "small", "code", "name", "mag", "flux", "flag"):
                compare(case, name, "the declared types", inferred[name].to_pylist(), ours[name].to_pylist())
            cases += 1
    print(f"{cases} cases, pandas and duckdb agree")


main(sys.argv[1])
