"""Makes folders of hive partitions, and compares what the program has of each with pyarrow.dataset
and DuckDB. Usage: read_partitions.py PROGRAM, in an empty folder."""

import csv
import io
import json
import pathlib
import subprocess
import sys

import astropy.io.fits
import astropy.io.votable
import duckdb
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


def main():
    count = 0
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
