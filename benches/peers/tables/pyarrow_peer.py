"""pyarrow as a peer: batch by batch. usage: pyarrow_peer.py csv|arrow|snappy|zstd IN.parquet [DICTIONARY]

Writes to its stdout. DICTIONARY is which columns Parquet encodes with a dictionary: all (pyarrow's
default), strings (as the program does) or none."""

import sys

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

kind, source = sys.argv[1], sys.argv[2]
parquet = pq.ParquetFile(source)
schema = parquet.schema_arrow
out = pa.OSFile("/proc/self/fd/1", "wb")
if kind == "csv":
    writer = pa.csv.CSVWriter(out, schema)
elif kind == "arrow":
    writer = pa.ipc.new_stream(out, schema)
else:
    dictionary = {
        "all": True,
        "none": False,
        "strings": [field.name for field in schema if pa.types.is_string(field.type)],
    }[sys.argv[3]]
    # The program's bound on a dictionary; pyarrow's own is 1 MB.
    bound = {"dictionary_pagesize_limit": 128 * 1024} if sys.argv[3] == "strings" else {}
    # The level that the program writes with; snappy has none.
    level = 1 if kind == "zstd" else None
    writer = pq.ParquetWriter(
        out, schema, compression=kind, compression_level=level, use_dictionary=dictionary, **bound
    )
# Row groups as in the input; a batch each.
with writer:
    for batch in parquet.iter_batches(batch_size=100_000):
        writer.write_batch(batch)
out.close()
