"""polars as a peer. usage: polars_peer.py write-csv|csv|ndjson|json|snappy|zstd|arrow IN.parquet

Writes to its stdout. `write-csv` and `json` hold the table in memory, the others stream (sink_*)."""

import sys

import polars as pl

OUT = "/proc/self/fd/1"
ISO = "%Y-%m-%dT%H:%M:%S%.6f"
kind, source = sys.argv[1], sys.argv[2]
if kind == "write-csv":
    pl.read_parquet(source).write_csv(OUT, datetime_format=ISO)
elif kind == "json":
    pl.read_parquet(source).write_json(OUT)
elif kind == "csv":
    pl.scan_parquet(source).sink_csv(OUT, datetime_format=ISO)
elif kind == "ndjson":
    pl.scan_parquet(source).sink_ndjson(OUT)
elif kind == "snappy":
    pl.scan_parquet(source).sink_parquet(OUT, compression="snappy")
elif kind == "zstd":
    pl.scan_parquet(source).sink_parquet(OUT, compression="zstd", compression_level=1)
elif kind == "arrow":
    pl.scan_parquet(source).sink_ipc(OUT, compression="uncompressed")
else:
    sys.exit(f"polars_peer: {kind}?")
