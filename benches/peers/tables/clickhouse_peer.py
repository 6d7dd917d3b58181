"""ClickHouse (chdb) as a peer. usage: clickhouse_peer.py csv|tsv|ndjson|snappy|zstd IN.parquet THREADS

Writes to its stdout. THREADS 0 is ClickHouse's default: one a core."""

import sys

import chdb

FORMATS = {
    "csv": "CSVWithNames",
    "tsv": "TSVWithNames",
    "ndjson": "JSONEachRow",
    "snappy": "Parquet",
    "zstd": "Parquet",
}
SETTINGS = {
    "ndjson": ["output_format_json_quote_64bit_integers = 0"],
    "snappy": ["output_format_parquet_compression_method = 'snappy'"],
    # The level that the program writes with.
    "zstd": ["output_format_parquet_compression_method = 'zstd'", "output_format_compression_level = 1"],
}

kind, source, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
# Its reader of Parquet mixes the blocks unless told otherwise.
settings = [
    "engine_file_truncate_on_insert = 1",
    "input_format_parquet_preserve_order = 1",
    *SETTINGS.get(kind, []),
]
if threads:
    settings.append(f"max_threads = {threads}")
chdb.query(
    f"INSERT INTO FUNCTION file('/proc/self/fd/1', {FORMATS[kind]}) "
    f"SELECT * FROM file('{source}', Parquet) SETTINGS {', '.join(settings)}"
)
