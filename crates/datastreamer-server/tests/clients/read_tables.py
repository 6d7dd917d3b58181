"""Reads a table's formats with somebody else's reader, and compares each value with the source.

usage: read_tables.py READER ROUTE SOURCE.parquet

ROUTE is a URL without suffix, SOURCE what is served there, read by pyarrow. READER is one of the
functions below. It gets from the URL itself what it can, and a downloaded file otherwise. Ends with
1 and names format, column and row where they differ.
"""

import csv
import io
import math
import subprocess
import sys
import warnings

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import requests

route, source = sys.argv[2:]
expected = pq.read_table(source)
# Their warnings are of other things than values.
warnings.simplefilter("ignore")


def main():
    compared = 0
    for what, columns in READERS[sys.argv[1]]():
        compared += compare(what, columns)
    if compared == 0:
        sys.exit("nothing was compared")
    print(f"{compared} values are equal")


# Refused by the format: FITS is ASCII, JSON has no infinity.
LACKS = {"fits": {"unicode"}, "json": {"infinite"}, "ndjson": {"infinite"}}


# --- Readers: each gives (what it read, {column: values}) --------------------


def read_astropy():
    from astropy.io import fits, votable

    for form in ["votable", "votable-binary", "votable-binary2"]:
        table = votable.parse_single_table(io.BytesIO(get(form, "format"))).to_table()
        yield form, {name: masked(table[name]) for name in table.colnames}
    with fits.open(io.BytesIO(get("fits")), character_as_bytes=False) as opened:
        opened.verify("exception")
        yield "fits", {column.name: fits_values(opened[1], column) for column in opened[1].columns}


def read_pyvo():
    import pyvo

    for form, asked_by in [
        ("vot", "suffix"),
        ("votable-binary2", "format"),
        ("votable/b2", "RESPONSEFORMAT"),
    ]:
        results = pyvo.dal.DALResults.from_result_url(url(form, asked_by))
        if results.status[0] != "OK":
            sys.exit(f"{form}: {results.status}")
        table = results.to_table()
        yield form, {name: masked(table[name]) for name in table.colnames}
    query = pyvo.dal.DALQuery(route, MAXREC=str(len(expected)))
    table = query.execute().to_table()
    yield "a query of pyvo's", {name: masked(table[name]) for name in table.colnames}
    # It sends the names of parameters in capitals.
    names = expected.column_names[::-1]
    asked = {"select": ",".join(names), "offset": "0", "limit": str(len(expected))}
    table = pyvo.dal.DALQuery(route, **asked).execute().to_table()
    if table.colnames != names:
        sys.exit(f"of {names} pyvo gets {table.colnames}")
    yield "columns that pyvo selects", {name: masked(table[name]) for name in names[::-1]}


def read_stilts():
    # It takes CSV for Latin-1.
    LACKS["csv"] = {"unicode"}
    for form, asked_by in [
        ("vot", "suffix"),
        ("votable-binary", "format"),
        ("votable-binary2", "format"),
        ("fits", "suffix"),
        ("csv", "suffix"),
    ]:
        kind = form if form in ("fits", "csv") else "votable"
        table = [f"in={url(form, asked_by)}", f"ifmt={kind}"]
        command = ["stilts", "tpipe", *table, "omode=out", "ofmt=csv"]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        yield form, from_csv(csv.reader(io.StringIO(done.stdout.decode())))


def read_pandas():
    import pandas

    nullable = {"dtype_backend": "pyarrow"}
    # Its JSON makes floats of integers beside nulls.
    LACKS["json"] = LACKS["json"] | {"long"}
    texts = {"keep_default_na": False, "na_values": {name: ["", "NaN"] for name in numbers()}}
    yield "csv", from_pandas(pandas.read_csv(url("csv"), float_precision="round_trip", **texts, **nullable))
    yield "tsv", from_pandas(pandas.read_csv(url("tsv"), sep="\t", quoting=csv.QUOTE_NONE, float_precision="round_trip", **texts, **nullable))
    yield "ndjson", from_pandas(pandas.read_json(io.BytesIO(get("ndjson")), lines=True, engine="pyarrow", **nullable))
    yield "json", from_pandas(pandas.read_json(url("json"), precise_float=True, **nullable))
    yield "parquet", from_pandas(pandas.read_parquet(io.BytesIO(get("parquet")), **nullable))


def read_polars():
    import polars

    yield "csv", from_arrow(polars.read_csv(get("csv"), infer_schema_length=None).to_arrow())
    yield "ndjson", from_arrow(polars.read_ndjson(get("ndjson"), infer_schema_length=None).to_arrow())
    yield "json", from_arrow(polars.read_json(get("json"), infer_schema_length=None).to_arrow())
    yield "parquet", from_arrow(polars.read_parquet(get("parquet")).to_arrow())
    yield "arrow", from_arrow(polars.read_ipc_stream(get("arrow")).to_arrow())
    yield "arrow-file", from_arrow(polars.read_ipc(get("arrow-file", "format")).to_arrow())


def read_duckdb():
    import duckdb

    for form, read in [
        ("csv", "read_csv('{}', sample_size=-1)"),
        ("tsv", "read_csv('{}', delim='\t', quote='', escape='', sample_size=-1)"),
        ("ndjson", "read_json('{}', format='newline_delimited', sample_size=-1)"),
        ("json", "read_json('{}', format='array', sample_size=-1)"),
        ("parquet", "read_parquet('{}')"),
    ]:
        file = f"table.{form}"
        with open(file, "wb") as output:
            output.write(get(form))
        table = duckdb.sql(f"SELECT * FROM {read.format(file)}").to_arrow_table()
        yield form, from_arrow(table)


def read_pyarrow():
    import pyarrow.csv
    import pyarrow.json

    strings = pyarrow.csv.ConvertOptions(strings_can_be_null=True, quoted_strings_can_be_null=False, null_values=[""])
    yield "csv", from_arrow(pyarrow.csv.read_csv(io.BytesIO(get("csv")), convert_options=strings))
    yield "ndjson", from_arrow(pyarrow.json.read_json(io.BytesIO(get("ndjson"))))
    for form, table in [
        ("parquet", pq.read_table(io.BytesIO(get("parquet")))),
        ("arrow", pa.ipc.open_stream(get("arrow")).read_all()),
        ("arrow-file", pa.ipc.open_file(get("arrow-file", "format")).read_all()),
    ]:
        # Binary formats of Arrow's own keep the types, too.
        types = [str(kind) for kind in table.schema.types]
        if types != [str(kind) for kind in expected.schema.types]:
            sys.exit(f"{form}: the types are {types}")
        yield form, from_arrow(table)


READERS = {
    name.removeprefix("read_"): read
    for name, read in dict(globals()).items()
    if name.startswith("read_")
}


# --- What they give, as lists of Python's values -----------------------------


def url(form, asked_by="suffix"):
    """The URL of a format, without the columns that it cannot hold."""
    names = [name for name in expected.column_names if name not in LACKS.get(form, ())]
    path = f".{form}" if asked_by == "suffix" else ""
    query = [] if asked_by == "suffix" else [f"{asked_by}={form}"]
    if len(names) < len(expected.column_names):
        query.append(f"select={','.join(names)}")
    return route + path + ("?" + "&".join(query) if query else "")


def get(form, asked_by="suffix"):
    response = requests.get(url(form, asked_by))
    response.raise_for_status()
    return response.content


def numbers():
    return [field.name for field in expected.schema if not pa.types.is_string(field.type)]


def masked(column):
    """A column of astropy's: masked is null, and so is an empty text."""
    mask = getattr(column, "mask", None)
    values = column.tolist() if mask is None else column.filled().tolist()
    mask = np.zeros(len(values), bool) if mask is None else np.broadcast_to(mask, len(values))
    return [None if null else value for value, null in zip(values, mask)]


def fits_values(table, column):
    null = column.null
    values = table.data[column.name].tolist()
    if column.format.endswith("L"):
        # astropy takes a null for false; the byte tells.
        raw = table.data.base[column.name] if table.data.base is not None else table.data[column.name]
        return [None if byte == 0 else value for value, byte in zip(values, np.asarray(raw).view(np.int8))]
    return [None if null is not None and value == null else value for value in values]


def from_csv(lines):
    names = next(lines)
    rows = list(lines)
    return {name: [row[place] if row else "" for row in rows] for place, name in enumerate(names)}


def from_pandas(frame):
    return from_arrow(pa.Table.from_pandas(frame, preserve_index=False))


def from_arrow(table):
    return {name: [plain(value) for value in table.column(name)] for name in table.column_names}


def plain(scalar):
    """A value of Arrow's; times as microseconds since 1970."""
    if not scalar.is_valid:
        return None
    if pa.types.is_timestamp(scalar.type):
        return np.datetime64(scalar.value, scalar.type.unit)
    return scalar.as_py()


# --- Comparison --------------------------------------------------------------


def compare(what, columns):
    # Whether null, NaN and an empty text are three things.
    is_strict = what in ("parquet", "arrow", "arrow-file", "json", "ndjson")
    names = [name for name in expected.column_names if name not in LACKS.get(what, ())]
    if list(columns) != names:
        sys.exit(f"{what}: the columns are {list(columns)}")
    for name in names:
        wanted, found = expected.column(name), columns[name]
        if len(found) != len(wanted):
            sys.exit(f"{what}: {name}: {len(found)} values instead of {len(wanted)}")
        for row, want in enumerate(wanted):
            if not same(want, found[row], is_strict, what):
                sys.exit(f"{what}: {name}, row {row}: {found[row]!r} instead of {want!r}")
    return len(names) * len(expected)


def same(want, found, is_strict, what):
    kind, want = want.type, plain(want)
    is_nothing = found is None or found == "" or (isinstance(found, float) and math.isnan(found))
    if want is None:
        return found is None if is_strict else is_nothing
    if pa.types.is_boolean(kind):
        return str(found).lower() in ((("true", "t") if want else ("false", "f")))
    if pa.types.is_timestamp(kind):
        return found not in (None, "") and np.datetime64(found) == want
    if pa.types.is_integer(kind):
        return not is_nothing and int(found) == want
    if pa.types.is_floating(kind):
        return same_float(kind, want, found, is_nothing, what)
    if want == "" and not is_strict:
        return is_nothing
    # FITS cannot tell trailing blanks from none.
    return found == want or what == "fits" and (found or "") == want.rstrip()


def same_float(kind, want, found, is_nothing, what):
    if math.isnan(want) or (math.isinf(want) and what in ("json", "ndjson")):
        # JSON has null for what it has no number for.
        return is_nothing
    if is_nothing:
        return False
    if pa.types.is_float32(kind):
        return np.float32(found) == np.float32(want)
    return float(found) == want


main()
