"""Reads a long table in a format with somebody else's reader, and compares each value with the source.

usage: read_millions.py FORMAT ROUTE SOURCE.parquet

ROUTE is a URL without suffix, SOURCE what is served there: the stars. Compares whole columns, as
three million rows one by one take Python minutes. Ends with 1 and names what differs.
"""

import subprocess
import sys
import warnings

import duckdb
import numpy as np
import polars
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import requests
from astropy.io import fits

form, route, source = sys.argv[1:]
expected = pq.read_table(source)
warnings.simplefilter("ignore")

# An empty field is a null.
AS_WRITTEN = pyarrow.csv.ConvertOptions(column_types=expected.schema, strings_can_be_null=True)


def main():
    file = f"table.{form}"
    with requests.get(f"{route}?format={form}", stream=True) as response:
        response.raise_for_status()
        with open(file, "wb") as output:
            for piece in response.iter_content(1 << 20):
                output.write(piece)
    compare(READERS[form](file))
    print(f"{len(expected) * expected.num_columns} values are equal")


def read_csv(file):
    return polars.read_csv(file, schema_overrides={"epoch": polars.String}).to_arrow()


def read_tsv(file):
    return pyarrow.csv.read_csv(file, parse_options=pyarrow.csv.ParseOptions(delimiter="\t"), convert_options=AS_WRITTEN)


def read_ndjson(file):
    return duckdb.sql(f"SELECT * FROM read_json('{file}', format='newline_delimited')").to_arrow_table()


def read_arrow(file):
    return pa.ipc.open_stream(file).read_all()


def read_fits(file):
    with fits.open(file, character_as_bytes=True) as opened:
        table = opened[1]
        return pa.table({column.name: from_fits(table.data[column.name], column) for column in table.columns})


def from_fits(values, column):
    values = np.asarray(values)
    if values.dtype.kind == "S":
        return texts_from_fits(np.ascontiguousarray(values))
    null = np.isnan(values) if values.dtype.kind == "f" else values == column.null
    return pa.array(values.astype(values.dtype.newbyteorder("=")), mask=null)


def texts_from_fits(values):
    """Cuts padding off, faster than `np.char.decode` does."""
    lengths = np.char.str_len(values)
    padded = values.view(np.uint8).reshape(len(values), values.itemsize)
    texts = padded[np.arange(values.itemsize) < lengths[:, np.newaxis]]
    if (texts > 127).any():
        sys.exit(f"{form}: FITS has a text that is not ASCII")
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    array = pa.StringArray.from_buffers(len(values), pa.py_buffer(offsets), pa.py_buffer(texts))
    return pc.if_else(pc.equal(array, ""), None, array)


def read_votable(file):
    # STILTS reads what it writes to FITS: that takes about half of the CPU time that numbers as text take.
    command = ["stilts", "tpipe", f"in={file}", "ifmt=votable", "omode=out", "ofmt=fits-basic", "out=stilts.fits"]
    subprocess.run(command, check=True)
    return read_fits("stilts.fits")


READERS = {
    "votable": read_votable,
    "votable-binary": read_votable,
    "votable-binary2": read_votable,
    "fits": read_fits,
    "csv": read_csv,
    "tsv": read_tsv,
    "ndjson": read_ndjson,
    "parquet": pq.read_table,
    "arrow": read_arrow,
}


def compare(table):
    if table.column_names != expected.column_names:
        sys.exit(f"{form}: the columns are {table.column_names}")
    for name in expected.column_names:
        wanted, found = expected[name].combine_chunks(), table[name].combine_chunks()
        if pa.types.is_timestamp(wanted.type) and pa.types.is_large_string(found.type):
            found = found.cast(pa.string())
        found = found.cast(wanted.type)
        if len(found) != len(wanted):
            sys.exit(f"{form}: {name}: {len(found)} values instead of {len(wanted)}")
        if not found.equals(wanted):
            differs = pc.invert(pc.fill_null(pc.equal(wanted, found), False))
            both_null = pc.and_(pc.is_null(wanted), pc.is_null(found))
            rows = pc.indices_nonzero(pc.and_(differs, pc.invert(both_null)))
            row = rows[0].as_py()
            sys.exit(f"{form}: {name}, row {row}: {found[row]} instead of {wanted[row]}, and {len(rows) - 1} more")


main()
