"""DuckDB's COPY as a peer. usage: duckdb_peer.py csv|json|ndjson|snappy|zstd IN.parquet THREADS

Writes to its stdout. THREADS 0 is DuckDB's default: one a core."""

import sys

import duckdb

# The level that the program writes with.
OPTIONS = {
    "csv": "FORMAT csv, HEADER true",
    "ndjson": "FORMAT json",
    "json": "FORMAT json, ARRAY true",
    "snappy": "FORMAT parquet, COMPRESSION snappy",
    "zstd": "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1",
}

kind, source, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
if threads:
    duckdb.execute(f"SET threads = {threads}")
# No temporary file that is renamed onto the device.
options = f"{OPTIONS[kind]}, USE_TMP_FILE false"
duckdb.execute(f"COPY (SELECT * FROM read_parquet('{source}')) TO '/proc/self/fd/1' ({options})")
