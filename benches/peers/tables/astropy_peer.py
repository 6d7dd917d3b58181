"""astropy as a peer. usage: astropy_peer.py votable|votable-binary2|fits IN.parquet ROWS

Writes the first ROWS rows to its stdout: astropy holds the whole table in memory, and writes a
VOTable a hundred times slower than others."""

import io
import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.io.votable import from_table, writeto
from astropy.table import MaskedColumn, Table


def column(array):
    mask = array.is_null().to_numpy()
    if pa.types.is_timestamp(array.type):
        array = pc.strftime(array, format="%Y-%m-%dT%H:%M:%S")
    if pa.types.is_string(array.type):
        values = np.array(array.fill_null("").to_pylist(), dtype="S")
    else:
        values = array.fill_null(0).to_numpy()
    return MaskedColumn(values, mask=mask)


kind, source, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
parquet = pq.ParquetFile(source)
batches = []
for batch in parquet.iter_batches(batch_size=100_000):
    batches.append(batch.slice(0, rows))
    rows -= len(batches[-1])
    if rows == 0:
        break
read = pa.Table.from_batches(batches)
table = Table({name: column(read[name]) for name in read.column_names})
if kind == "fits":
    for name in ("pmra", "g_mag"):
        table[name] = table[name].filled(np.nan)
    # astropy asks where it stands, which a pipe does not answer.
    table.write(sys.stdout.buffer, format="fits")
else:
    tabledata = "tabledata" if kind == "votable" else "binary2"
    with io.FileIO(1, "w", closefd=False) as out:
        writeto(from_table(table), out, tabledata_format=tabledata)
