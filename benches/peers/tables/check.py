#!/usr/bin/env python3
"""Compares what a peer wrote with the Parquet file that it read: every value of every row.

usage: check.py FORMAT WRITTEN IN.parquet ROWS

FORMAT is votable, votable-binary2, fits, csv, tsv, ndjson, json, parquet or arrow. ROWS is how many
of the first rows were to be written. Exits with 1 and says what differs. A NaN counts as a null, as
FITS and VOTable know no other null of a float; how a null or a time is spelled is left to the writer."""

import io
import json
import sys
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet as pq

warnings.simplefilter("ignore")

NULLS = ["", "\\N", "N/A"]


def by_astropy(path, kind):
    from astropy.table import Table

    table = Table.read(path, format="fits" if kind == "fits" else "votable")
    return pa.table({name: from_numpy(table[name]) for name in table.colnames})


def from_numpy(column):
    """An Arrow array of an astropy column. An empty text is a null."""
    mask = np.ma.getmaskarray(np.ma.asarray(column))
    values = np.ma.getdata(np.ma.asarray(column))
    if values.dtype.kind in "SUO":
        texts = (v.decode() if isinstance(v, bytes) else str(v) for v in values.tolist())
        return pa.array([None if m else v or None for v, m in zip(texts, mask)], pa.string())
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=mask)


def delimited(text, names, delimiter):
    lines = text.split(b"\n", 40)
    rules = [at for at, line in enumerate(lines) if line.startswith(b"---")]
    if rules:  # The Tab-Separated Table of STIL: comments, names, a rule.
        text = b"\n".join(lines[rules[0] + 1 :])
    elif names[0].encode() in lines[0]:
        text = text.split(b"\n", 1)[1]
    text = text.removesuffix(b"[EOD]\n")
    return pa.csv.read_csv(
        io.BytesIO(text),
        pa.csv.ReadOptions(column_names=names),
        pa.csv.ParseOptions(delimiter=delimiter, quote_char='"' if delimiter == "," else False),
        pa.csv.ConvertOptions(
            column_types={name: pa.string() for name in names},
            null_values=NULLS,
            strings_can_be_null=True,
            quoted_strings_can_be_null=True,
        ),
    )


def records(path, names):
    with open(path) as file:
        found = json.load(file)
    if isinstance(found, dict):  # DaCHS: metadata, and rows without names.
        found = [dict(zip(names, row)) for row in found["data"]]
    return pa.Table.from_pylist(found)


def read(kind, path, schema):
    if kind in ("votable", "votable-binary2", "fits"):
        return by_astropy(path, kind)
    if kind in ("csv", "tsv"):
        with open(path, "rb") as file:
            return delimited(file.read(), schema.names, "," if kind == "csv" else "\t")
    if kind == "ndjson":
        # Else it guesses what is a time.
        typed = pa.schema(
            (field.name, pa.string() if pa.types.is_timestamp(field.type) else field.type)
            for field in schema
        )
        return pa.json.read_json(path, parse_options=pa.json.ParseOptions(explicit_schema=typed))
    if kind == "json":
        return records(path, schema.names)
    if kind == "arrow":
        with pa.memory_map(path) as file:
            try:
                return pa.ipc.open_stream(file).read_all()
            except pa.ArrowInvalid:
                return pa.ipc.open_file(file).read_all()
    return pq.read_table(path)


def like(column, wanted):
    """The column with the type of the source, and no NaN."""
    if pa.types.is_timestamp(wanted) and not pa.types.is_timestamp(column.type):
        column = pc.replace_substring_regex(column.cast(pa.string()), "Z$", "")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.timestamp("us"))
    if pa.types.is_string(column.type) and pa.types.is_floating(wanted):
        column = column.cast(pa.float64())
    # A float may be written with the digits of a double.
    column = column.cast(wanted, safe=not pa.types.is_floating(wanted))
    if pa.types.is_floating(wanted):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, wanted), column)
    return column


kind, path, source, rows = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
expected = pq.read_table(source).slice(0, rows)
written = read(kind, path, expected.schema)
if written.num_rows != rows:
    sys.exit(f"{written.num_rows} rows instead of {rows}")
for field in expected.schema:
    if field.name not in written.column_names:
        sys.exit(f"no column {field.name}: {written.column_names}")
    here, there = like(written[field.name], field.type), like(expected[field.name], field.type)
    if here.null_count != there.null_count:
        sys.exit(f"{field.name}: {here.null_count} nulls instead of {there.null_count}")
    same = pc.fill_null(pc.equal(here, there), True)
    valid = pc.equal(pc.is_valid(here), pc.is_valid(there))
    same = pc.and_(same, valid)
    if not pc.all(same).as_py():
        at = pc.index(same, False).as_py()
        sys.exit(f"{field.name}, row {at}: {here[at]} instead of {there[at]}")
