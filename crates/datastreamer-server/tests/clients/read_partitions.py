"""Makes folders of hive partitions, and compares what the program has of each with pyarrow.dataset,
DuckDB and polars, and folders whose files have several types. Usage: read_partitions.py PROGRAM, in an empty folder."""

import csv
import datetime
import decimal
import io
import json
import pathlib
import subprocess
import sys

import astropy.io.fits
import astropy.io.votable
import duckdb
import polars
import pyarrow as pa
import pyarrow.dataset
import pyarrow.feather
import pyarrow.parquet as pq

PROGRAM = sys.argv[1]
NULL = "__HIVE_DEFAULT_PARTITION__"
# Folders, and the value in each of them.
LAYOUTS = {
    "padded": [("month=01", {"month": 1}), ("month=2", {"month": 2}), ("month=12", {"month": 12})],
    "nulls": [("year=2024", {"year": 2024}), (f"year={NULL}", {"year": None})],
    "text_nulls": [("band=g", {"band": "g"}), (f"band={NULL}", {"band": None})],
    "escaped": [("key=a%2Fb", {"key": "a/b"}), ("key=50%25", {"key": "50%"}), ("key=a b", {"key": "a b"}), ("key=x%3Dy", {"key": "x=y"})],
    "two": [("y=1/b=x", {"y": 1, "b": "x"}), (f"y=2/b={NULL}", {"y": 2, "b": None}), (f"y={NULL}/b=z", {"y": None, "b": "z"})],
    "signed": [("n=-5", {"n": -5}), ("n=0", {"n": 0})],
    "below": [("plain/year=2026", {"year": 2026}), ("year=2025", {"year": 2025})],
}
FORMATS = ["ndjson", "parquet", "arrow", "csv", "tsv", "votable", "fits"]
HATS = [("Norder=0/Dir=0", {"Norder": 0, "Dir": 0}), ("Norder=1/Dir=0", {"Norder": 1, "Dir": 0})]


def cat(path, form):
    return subprocess.run([PROGRAM, "cat", path, "--format", form], check=True, capture_output=True).stdout


def key(row):
    return sorted((name, str(value)) for name, value in row.items())


def same(what, found, wanted):
    found, wanted = sorted(found, key=key), sorted(wanted, key=key)
    assert found == wanted, f"{what}: {found}, not {wanted}"


def write(path, row, form):
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table({"v": [row]})
    if form == "parquet":
        pq.write_table(table, path)
    elif form == "arrow":
        pyarrow.feather.write_feather(table, str(path), compression="uncompressed")
    elif form == "fits":
        astropy.io.fits.BinTableHDU.from_columns([astropy.io.fits.Column("v", "K", array=[row])]).writeto(path)
    elif form == "ndjson":
        path.write_text(json.dumps({"v": row}) + "\n")
    else:
        path.write_text(f"v\n{row}\n")


def as_text(row):
    return {name: "" if value is None else str(value) for name, value in row.items()}


def check(root, wanted, formats):
    """Each format has the rows that are wanted."""
    # A null text is an empty one in FITS and VOTable.
    texts = {name for row in wanted for name, value in row.items() if isinstance(value, str)}
    empty = [{name: "" if value is None and name in texts else value for name, value in row.items()} for row in wanted]
    for form in formats:
        out = cat(root, form)
        if form == "ndjson":
            same(form, [json.loads(line) for line in out.splitlines()], wanted)
        elif form == "parquet":
            same(form, pq.read_table(io.BytesIO(out)).to_pylist(), wanted)
        elif form == "arrow":
            same(form, pa.ipc.open_stream(out).read_all().to_pylist(), wanted)
        elif form in ("csv", "tsv"):
            rows = csv.DictReader(io.StringIO(out.decode(), newline=""), delimiter="," if form == "csv" else "\t")
            same(form, rows, [as_text(row) for row in wanted])
        elif form == "votable":
            same(form, rows_of(astropy.io.votable.parse_single_table(io.BytesIO(out)).to_table()), empty)
        else:
            same(form, rows_of(astropy.table.Table.read(io.BytesIO(out), format="fits")), empty)


def rows_of(table):
    import numpy as np

    def value(it):
        if it is np.ma.masked:
            return None
        return it.item() if isinstance(it, np.generic) else it

    def text_or(it):
        it = value(it)
        return it.decode().rstrip() if isinstance(it, bytes) else it

    columns = table.colnames
    texts = {name for name in columns if table[name].dtype.kind in "SUO"}
    rows = [{name: text_or(row[name]) for name in columns} for row in table]
    return [{name: "" if value is None and name in texts else value for name, value in row.items()} for row in rows]


def own_columns():
    """Files that have the columns of their partitions: by polars and DuckDB, and of every other kind."""
    rows = [
        {"v": 0, "year": 2024, "who": "a/b"},
        {"v": 1, "year": 2024, "who": None},
        {"v": 2, "year": None, "who": "50%"},
        {"v": 3, "year": -5, "who": "x=y"},
        {"v": 4, "year": 31, "who": "ü é"},
        {"v": 5, "year": 31, "who": "007"},
    ]
    frame = polars.DataFrame(rows, schema={"v": polars.Int64, "year": polars.Int64, "who": polars.String})
    root = pathlib.Path("own")
    frame.write_parquet(root / "polars", partition_by=["year", "who"])
    theirs = polars.read_parquet(root / "polars", hive_partitioning=True, try_parse_hive_dates=False)
    same("polars", theirs.to_dicts(), rows)
    duckdb.sql("CREATE TABLE own AS FROM frame")
    duckdb.sql(f"COPY own TO '{root}/duckdb' (FORMAT parquet, PARTITION_BY (year, who), WRITE_PARTITION_COLUMNS true)")
    # DuckDB takes the values of the folders, as texts unless it is told the type.
    types = "hive_types = {'year': BIGINT, 'who': VARCHAR}"
    query = f"SELECT v, year, who FROM read_parquet('{root}/duckdb/**/*.parquet', hive_partitioning = true, {types})"
    same("DuckDB", duckdb.sql(query).to_arrow_table().to_pylist(), rows)
    count = 0
    for name in ["polars", "duckdb"]:
        # FITS has no letters beyond ASCII.
        formats = [form for form in FORMATS if form != "fits"]
        check(root / name, rows, formats)
        count += len(formats)
    for form in ["arrow", "csv", "tsv", "ndjson", "fits"]:
        # A folder says nothing of the values: that of one row is wrong. Integers of FITS have no nulls.
        whole = [row for row in rows if form != "fits" or row["year"] is not None]
        for row in whole:
            year = 1999 if row["v"] == 3 else row["year"]
            path = root / form / f"year={NULL if year is None else year}" / f"part-{row['v']}.{form}"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_rows(path, [row], form)
        check(root / form, whole, ["ndjson"])
        count += 1
    return count


def mixed():
    """Files of one folder whose types differ, with the extremes of each. pyarrow finds the common types."""
    utc, berlin = pa.timestamp("ms", "UTC"), pa.timestamp("ns", "Europe/Berlin")
    texts, more = ["", "ü", "a" * 40, None], ["z", "", None]
    pairs = [
        (pa.array(texts), pa.array(more, pa.large_string())),
        (pa.array(texts), pa.array(more, pa.string_view())),
        (pa.array(texts).dictionary_encode(), pa.array(more, pa.large_string())),
        (pa.array(texts).dictionary_encode(), pa.array(more)),
        (pa.array([-(2**31), 2**31 - 1], pa.int32()), pa.array([0, 2**32 - 1], pa.uint32())),
        (pa.array([-(2**31), 2**31 - 1], pa.int32()), pa.array([0.1, 1e308])),
        (pa.array([-(2**15), 2**15 - 1], pa.int16()), pa.array([0.5, 3e38], pa.float32())),
        (pa.array([decimal.Decimal("-99999999.99"), None]), pa.array([decimal.Decimal("0.000001")])),
        (pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31)]), pa.array([datetime.date(2024, 2, 29)], pa.date64())),
        (pa.array([0, 1, -1, 253402300799999], pa.int64()).cast(pa.timestamp("ms")), pa.array([-62135596800000000, 1], pa.int64()).cast(pa.timestamp("us"))),
        (pa.array([0, 9223372036854], pa.int64()).cast(utc), pa.array([-(2**63) + 1, 2**63 - 1], pa.int64()).cast(berlin)),
    ]
    for place, pair in enumerate(pairs):
        tables = [pa.table({"x": array}) for array in pair]
        both = [pa.concat_arrays([one.cast(common) for one in pair]) for common in [common_type(*pair)]][0]
        for form in ["parquet", "arrow"]:
            root = pathlib.Path("mixed", form, str(place))
            root.mkdir(parents=True)
            pq.write_table(tables[0], root / "a.parquet") if form == "parquet" else pyarrow.feather.write_feather(tables[0], str(root / "a.arrow"))
            pq.write_table(tables[1], root / "b.parquet") if form == "parquet" else pyarrow.feather.write_feather(tables[1], str(root / "b.arrow"))
            for out in [pa.ipc.open_stream(cat(root, "arrow")).read_all(), pq.read_table(io.BytesIO(cat(root, "parquet")))]:
                # The values, as integers where Python's times have too few digits.
                found = out["x"].combine_chunks()
                if pa.types.is_timestamp(both.type):
                    found, wanted = found.cast(pa.timestamp(both.type.unit, both.type.tz)).cast(pa.int64()), both.cast(pa.int64())
                else:
                    wanted = both
                assert found.to_pylist() == wanted.to_pylist(), f"{form} {[str(one.type) for one in pair]}: {found}"
    return 4 * len(pairs)


def common_type(one, other):
    if pa.types.is_timestamp(one.type) and one.type.tz:
        return pa.timestamp("ns", "UTC")
    if pa.types.is_string_view(other.type) or pa.types.is_dictionary(one.type):
        return pa.string() if not pa.types.is_large_string(other.type) else pa.large_string()
    schemas = [pa.schema([("x", array.type)]) for array in (one, other)]
    return pa.unify_schemas(schemas, promote_options="permissive").field("x").type


def unnamed():
    """A column without a name gets one in formats whose readers need it."""
    root = pathlib.Path("unnamed")
    root.mkdir()
    table = pa.table([pa.array([1, 2]), pa.array([3, 4]), pa.array([5, 6])], names=["", "column1", " "])
    pq.write_table(table, root / "t.parquet")
    pyarrow.feather.write_feather(table, str(root / "t.arrow"), compression="uncompressed")
    (root / "t.ndjson").write_text('{"":1,"column1":3," ":5}\n{"":2,"column1":4," ":6}\n')
    wanted = [{"column1_": 1, "column1": 3, "column3": 5}, {"column1_": 2, "column1": 4, "column3": 6}]
    files = ["t.parquet", "t.arrow", "t.ndjson"]
    for name in files:
        check(root / name, wanted, ["votable", "fits"])
    return 2 * len(files)


def write_rows(path, rows, form):
    schema = pa.schema([("v", pa.int64()), ("year", pa.int64()), ("who", pa.string())])
    if form == "arrow":
        pyarrow.feather.write_feather(pa.Table.from_pylist(rows, schema), str(path), compression="uncompressed")
    elif form == "fits":
        kinds = {"v": "K", "year": "K", "who": "9A"}
        columns = [astropy.io.fits.Column(name, kind, array=[(row[name] or "").encode() if name == "who" else row[name] for row in rows]) for name, kind in kinds.items()]
        astropy.io.fits.BinTableHDU.from_columns(columns).writeto(path)
    elif form == "ndjson":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [rows[0].keys()] + [["" if value is None else str(value) for value in row.values()] for row in rows]
        path.write_text("".join(("," if form == "csv" else "\t").join(line) + "\n" for line in lines))


def main():
    count = own_columns() + mixed() + unnamed()
    for name, layout in LAYOUTS.items():
        for form in ["parquet", "csv", "tsv", "ndjson", "arrow", "fits"]:
            root = pathlib.Path(name, form)
            wanted = []
            for place, (folder, values) in enumerate(layout):
                write(root / folder / f"part-{place}.{form}", place, form)
                wanted.append({"v": place, **values})
            (root / "_SUCCESS").touch()
            (root / "_temporary").mkdir()
            (root / f"_temporary/half.{form}").write_text("half")
            formats = FORMATS if form == "parquet" else ["ndjson"]
            check(root, wanted, formats)
            count += len(formats)
        root = pathlib.Path(name, "parquet")
        theirs = pyarrow.dataset.dataset(root, partitioning="hive").to_table().to_pylist()
        same(f"pyarrow, {name}", theirs, wanted)
        files = [str(file) for file in root.glob("**/part-*.parquet")]
        # DuckDB takes 01 as text unless it is told the type.
        types = ", hive_types = {'month': BIGINT}" if name == "padded" else ""
        query = f"FROM read_parquet({files}, hive_partitioning = true{types})"
        theirs = duckdb.sql(query).to_arrow_table().to_pylist()
        same(f"DuckDB, {name}", theirs, wanted)
    for folder, values in HATS:
        write(pathlib.Path("hats", folder, "Npix=11.parquet"), 1, "parquet")
    check(pathlib.Path("hats"), [{"v": 1, **values} for _, values in HATS], FORMATS)
    theirs = pyarrow.dataset.dataset("hats", partitioning="hive").to_table().to_pylist()
    same("pyarrow, hats", theirs, [{"v": 1, **values} for _, values in HATS])
    print(f"{count + len(FORMATS)} outputs")


main()
