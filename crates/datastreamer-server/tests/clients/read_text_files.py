"""Reads CSV, TSV and NDJSON files with the program, pyarrow, DuckDB and polars, and compares each value.

usage: python read_text_files.py PROGRAM

The columns are those that all of these readers read alike: where they differ, the program's tests
state the values.
"""

import csv
from decimal import Decimal
import gzip
import json
import math
import random
import subprocess
import sys

import duckdb
import polars
import pyarrow
import pyarrow.csv
import pyarrow.json

ROWS = 20_000
NULLS = 0.05


def columns():
    draw = random.Random(7)
    texts = ["a", "M 31", "ü 星", 'say "hi"', "a,b", "line\nbreak", "-", "x y"]
    makers = {
        "id": lambda row: row,
        "big": lambda row: draw.randrange(-(2**63), 2**63),
        "ra": lambda row: draw.uniform(0, 360),
        "tiny": lambda row: draw.gauss(0, 1) * 10.0 ** draw.randrange(-300, 300),
        "flag": lambda row: draw.random() < 0.5,
        "name": lambda row: draw.choice(texts),
        "day": lambda row: f"{draw.randrange(1600, 2200):04}-{draw.randrange(1, 13):02}-{draw.randrange(1, 29):02}",
        "time": lambda row: f"2024-02-29 {draw.randrange(24):02}:{draw.randrange(60):02}:{draw.randrange(60):02}",
    }
    made = {name: [None if name != "id" and draw.random() < NULLS else maker(row) for row in range(ROWS)] for name, maker in makers.items()}
    return made


def field(value):
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def write_csv(path, made, delimiter):
    with gzip.open(path, "wt", newline="") if path.endswith(".gz") else open(path, "w", newline="") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(made)
        writer.writerows([field(value) for value in row] for row in zip(*made.values()))


def write_ndjson(path, made):
    with open(path, "w") as file:
        for row in zip(*made.values()):
            file.write(json.dumps(dict(zip(made, row)), ensure_ascii=False) + "\n")


def ours(program, path):
    done = subprocess.run([program, "cat", "--quiet", path, "--format", "arrow"], capture_output=True, check=True)
    return pyarrow.ipc.open_stream(done.stdout).read_all()


def plain(value):
    if isinstance(value, Decimal):
        # DuckDB's HUGEINT.
        return int(value)
    if isinstance(value, float) and math.isnan(value):
        return "NaN"
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def compare(what, wanted, found):
    if wanted.column_names != found.column_names:
        sys.exit(f"{what}: {wanted.column_names}, ours {found.column_names}")
    for name in wanted.column_names:
        pairs = zip(wanted[name].to_pylist(), found[name].to_pylist(), strict=True)
        for row, (one, other) in enumerate(pairs):
            one, other = plain(one), plain(other)
            if one != other or type(one) is not type(other):
                sys.exit(f"{what}: row {row}, column {name}: {one!r}, ours {other!r}")
    print(f"{what}: {wanted.num_rows} rows, {wanted.num_columns} columns")


def arrow_csv(path, delimiter):
    return pyarrow.csv.read_csv(
        path,
        parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True, null_values=[""]),
    )


def main():
    program = sys.argv[1]
    made = columns()
    for name, delimiter in [("t.csv", ","), ("t.csv.gz", ","), ("t.tsv", "\t")]:
        # TSV has no quotes.
        kept = made if delimiter == "," else {**made, "name": [text and text.replace('"', "").replace("\n", " ") for text in made["name"]]}
        write_csv(name, kept, delimiter)
        found = ours(program, name)
        compare(f"{name}, pyarrow", arrow_csv(name, delimiter), found)
        compare(f"{name}, DuckDB", duckdb.read_csv(name, sep=delimiter, header=True).to_arrow_table(), found)
        read = polars.read_csv(name, separator=delimiter, try_parse_dates=True, infer_schema_length=None)
        compare(f"{name}, polars", read.to_arrow(), found)
    write_ndjson("t.ndjson", made)
    # Their readers take strings for dates and times; ours are what JSON says.
    found = ours(program, "t.ndjson").drop_columns(["day", "time"])
    compare("t.ndjson, pyarrow", pyarrow.json.read_json("t.ndjson").drop_columns(["day", "time"]), found)
    compare("t.ndjson, DuckDB", duckdb.read_json("t.ndjson").to_arrow_table().drop_columns(["day", "time"]), found)
    compare("t.ndjson, polars", polars.read_ndjson("t.ndjson", infer_schema_length=None).to_arrow().drop_columns(["day", "time"]), found)


main()
