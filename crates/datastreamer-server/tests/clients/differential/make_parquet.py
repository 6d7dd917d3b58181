"""Parquet files by pyarrow, with every setting of its writer, and by DuckDB and polars."""

import pyarrow as pa
import pyarrow.parquet as pq

import kinds
import values
from case import Case


def by_pyarrow(random, folder):
    table = values.any_table(random)
    path = folder / "table.parquet"
    settings = any_settings(random, table)
    try:
        pq.write_table(table, path, **settings)
    except pa.ArrowNotImplementedError as error:
        if "Slicing not implemented" not in str(error):
            raise
        # pyarrow 26 cannot cut views into pages.
        table = without_views(table)
        pq.write_table(table, path, **settings)
    return Case([path], kinds.from_table(pyarrow_reads(path, table, settings)), describe(settings))


def pyarrow_reads(path, table, settings):
    """The table. Times of 96 bits are those that were written: pyarrow reads them as nanoseconds,
    which do not hold all years, or as fewer digits, and forgets their zone."""
    is_int96 = settings["use_deprecated_int96_timestamps"]
    try:
        read = pq.read_table(path, coerce_int96_timestamp_unit="us" if is_int96 else None)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if "expected" not in str(error) and "Slicing not implemented" not in str(error):
            raise
        read = []
    if len(read) != len(table):
        # pyarrow 26 loses the rows of lists of fixed-size lists that are longer than a page. The types
        # are those of a file of one page.
        whole = path.with_name("whole.parquet")
        pq.write_table(table, whole, **settings | {"row_group_size": None, "data_page_size": None})
        read = pq.read_table(whole)
        whole.unlink()
        if len(read) != len(table):
            return table
    for place, field in enumerate(table.schema):
        if is_int96 and pa.types.is_timestamp(field.type):
            column = table.column(place)
            if not settings["store_schema"]:
                column = column.cast(pa.timestamp(field.type.unit))
            read = read.set_column(place, field.name, column)
    return read


def describe(settings):
    return ", ".join(f"{name}={value}" for name, value in settings.items() if value not in (None, False))


def without_views(table):
    """The columns that have no views, or a column of numbers in their place."""
    kept = [place for place, field in enumerate(table.schema) if "view" not in str(field.type)]
    return table.select(kept) if kept else pa.table({"n": range(len(table))})


def any_settings(random, table):
    yes = lambda share: random.random() < share
    dictionary = random.choice([True, True, False])
    has_views = "view" in str(table.schema)
    settings = {
        "compression": random.choice(["none", "snappy", "snappy", "gzip", "brotli", "zstd", "lz4"]),
        "version": random.choice(["1.0", "2.4", "2.6", "2.6", "2.6"]),
        "data_page_version": random.choice(["1.0", "1.0", "2.0"]),
        "use_dictionary": dictionary,
        "write_statistics": yes(0.85),
        "write_page_index": yes(0.4),
        # pyarrow 26 cannot cut views within lists into row groups and pages.
        "row_group_size": None if has_views else random.choice([None, None, 1, 2, 7, 100] if len(table) < 1000 else [None, 500]),
        "data_page_size": None if has_views else random.choice([None, None, 1, 64]),
        # pyarrow forgets the zone of nested ones, and we could not tell.
        "use_deprecated_int96_timestamps": yes(0.08) and not any(map(pa.types.is_nested, table.schema.types)),
        "store_schema": yes(0.75),
        "write_page_checksum": yes(0.3),
        "use_byte_stream_split": not dictionary and all(pa.types.is_float32(kind) or pa.types.is_float64(kind) for kind in table.schema.types),
        "use_compliant_nested_type": yes(0.8),
    }
    if settings["use_deprecated_int96_timestamps"]:
        settings["allow_truncated_timestamps"] = True
    if settings["version"] != "2.6" and "ns" in "".join(map(str, table.schema.types)):
        settings["version"] = "2.6"
    if not dictionary and not settings["use_byte_stream_split"] and yes(0.5):
        settings["column_encoding"] = encodings(random, table) or None
    return settings


def encodings(random, table):
    """The newer encodings, of the columns that they fit."""
    chosen = {}
    for field in table.schema:
        kind = field.type
        if pa.types.is_integer(kind):
            chosen[field.name] = random.choice(["PLAIN", "DELTA_BINARY_PACKED"])
        elif kinds.is_any_text(kind):
            chosen[field.name] = random.choice(["PLAIN", "DELTA_LENGTH_BYTE_ARRAY", "DELTA_BYTE_ARRAY"])
        elif pa.types.is_float32(kind) or pa.types.is_float64(kind):
            chosen[field.name] = random.choice(["PLAIN", "BYTE_STREAM_SPLIT"])
    return {name: encoding for name, encoding in chosen.items() if "." not in name}


def statistics(random, folder):
    """Columns that are constant by their statistics, and are not: NaN and the signs of zero."""
    number = random.choice([1.0, -2.5, 0.0, -0.0, float("inf")])
    other = random.choice([float("nan"), -number if number == 0 else number, None, number])
    rows = random.choice([2, 3, 5, 40])
    columns = {}
    for place, kind in enumerate([pa.float64(), pa.float32(), pa.float16()]):
        data = [number if random.random() < 0.6 else other for _ in range(rows)]
        columns[f"f{place}"] = pa.array(data, pa.float64()).cast(kind)
    columns["s"] = pa.StructArray.from_arrays([columns["f0"]], ["x"])
    columns["n"] = pa.array([random.choice([7, None]) for _ in range(rows)], pa.int32())
    columns["t"] = pa.array(["same"] * rows)
    columns["z"] = pa.array([0] * rows, pa.timestamp("us", "UTC"))
    table = pa.table(columns)
    table = table.select(random.sample(table.column_names, random.randint(1, len(columns))))
    path = folder / "table.parquet"
    settings = {"row_group_size": random.choice([None, 1, 2]), "write_page_index": random.random() < 0.5, "data_page_version": random.choice(["1.0", "2.0"]), "use_dictionary": random.random() < 0.5}
    try:
        pq.write_table(table, path, **settings)
    except pa.ArrowNotImplementedError as error:
        if "Slicing not implemented" not in str(error):
            raise
        # pyarrow 26 cannot cut views into pages.
        table = without_views(table)
        pq.write_table(table, path, **settings)
    return Case([path], kinds.from_table(pq.read_table(path)), describe(settings))


DUCKDB_TYPES = ["BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "FLOAT", "DOUBLE", "DATE", "TIME", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMPTZ", "VARCHAR", "BLOB", "UUID", "DECIMAL(9,2)", "DECIMAL(18,4)", "DECIMAL(38,10)", "INTEGER[]", "VARCHAR[]", "DOUBLE[]", "INTEGER[3]", "STRUCT(a INTEGER, b VARCHAR)", "MAP(VARCHAR, INTEGER)", "ENUM('a', 'b', 'c d')"]


def by_duckdb(random, folder):
    import duckdb

    path = folder / "table.parquet"
    rows = random.choice([1, 3, 10, 40, 300])
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'; SET threads = 1")
    picked = random.sample(DUCKDB_TYPES, random.randint(1, 6))
    columns = [duckdb_column(random, connection, place, kind, rows) for place, kind in enumerate(picked)]
    connection.execute(f"CREATE TABLE t AS SELECT {', '.join(columns)} FROM range({rows}) r(row)")
    codec = random.choice(["snappy", "zstd", "gzip", "lz4_raw", "uncompressed"])
    version = random.choice(["V1", "V2"])
    connection.execute(f"COPY t TO '{path}' (FORMAT parquet, COMPRESSION {codec}, PARQUET_VERSION {version}, ROW_GROUP_SIZE {random.choice([2048, 4096])})")
    read = connection.sql(f"SELECT * FROM read_parquet('{path}')").to_arrow_table()
    return Case([path], kinds.from_table(with_uuids(read, picked)), f"DuckDB, {codec}, {version}, {', '.join(picked)}")


def with_uuids(table, picked):
    """DuckDB gives Arrow a text for a UUID."""
    import uuid

    for place, kind in enumerate(picked):
        column = table.column(place)
        if kind == "UUID" and kinds.is_any_text(column.type):
            data = [None if value is None else uuid.UUID(value).bytes for value in column.to_pylist()]
            table = table.set_column(place, table.column_names[place], pa.array(data, pa.binary(16)).cast(pa.uuid()))
    return table


DUCKDB_VALUES = {
    "BOOLEAN": ["true", "false"],
    "FLOAT": ["1.5", "'nan'", "'-inf'", "'-0.0'::FLOAT", "0.1"],
    "DOUBLE": ["1.5", "'nan'", "'inf'", "'-0.0'::DOUBLE", "1e23", "0.1"],
    "DATE": ["'1970-01-01'", "'9999-12-31'", "'0001-01-01'", "'2024-02-29'"],
    "TIME": ["'00:00:00'", "'23:59:59.999999'"],
    "VARCHAR": ["''", "'a,b'", "'NaN'", "'007'", "'ü'", "'say \"hi\"'"],
    "BLOB": ["''::BLOB", "'\\x00\\xFF'::BLOB"],
    "UUID": ["'00112233-4455-6677-8899-aabbccddeeff'", "uuid()"],
    "INTEGER[]": ["[1, NULL, 3]", "[]"],
    "VARCHAR[]": ["['a', NULL, '']", "[]"],
    "DOUBLE[]": ["['nan'::DOUBLE, 1.5]", "[]"],
    "INTEGER[3]": ["[1, 2, 3]", "[1, NULL, 3]"],
    "STRUCT(a INTEGER, b VARCHAR)": ["{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': ''}"],
    "MAP(VARCHAR, INTEGER)": ["MAP {'k': 1}", "MAP {}"],
    "ENUM('a', 'b', 'c d')": ["'a'", "'c d'"],
}


def duckdb_column(random, connection, place, kind, rows):
    if kind in DUCKDB_VALUES:
        pool = DUCKDB_VALUES[kind]
    elif kind.startswith("TIMESTAMP"):
        pool = ["'1970-01-01 00:00:00'", "'2024-02-29 12:34:56'", "'1969-12-31 23:59:59'", "'2200-01-01 00:00:00'"]
    elif kind.startswith("DECIMAL"):
        pool = ["0", "1.25", "-1234.5", "99999.99"]
    else:
        low, high = connection.execute(f"SELECT min, max FROM (SELECT 0 AS min, 100 AS max)").fetchone()
        top = {"TINYINT": 127, "SMALLINT": 32767, "INTEGER": 2**31 - 1, "BIGINT": 2**63 - 1, "UTINYINT": 255, "USMALLINT": 65535, "UINTEGER": 2**32 - 1, "UBIGINT": 2**64 - 1}[kind]
        pool = [str(low), str(high), str(top), str(top - 1)] + ([] if kind.startswith("U") else [str(-top - 1) + "::HUGEINT", "-1"])
    if random.random() < 0.3:
        pool = [random.choice(pool)]
    if random.random() < 0.5:
        pool = pool + ["NULL"]
    cases = " ".join(f"WHEN {which} THEN CAST({value} AS {kind})" for which, value in enumerate(pool))
    return f"CASE (row * {random.choice([1, 3, 7])} + {random.randint(0, 5)}) % {len(pool)} {cases} END AS d{place}"


def by_polars(random, folder):
    import polars

    path = folder / "table.parquet"
    table = values.any_table(random)
    usable = [name for place, name in enumerate(table.column_names) if polars_takes(table.schema.field(place).type) and table.column_names.count(name) == 1]
    if not usable:
        table, usable = pa.table({"f": [1.0, float("nan"), None]}), ["f"]
    frame = polars.from_arrow(table.select(usable))
    settings = {"compression": random.choice(["uncompressed", "snappy", "gzip", "brotli", "zstd", "lz4"]), "statistics": random.choice([True, False, "full"]), "row_group_size": random.choice([None, 5, 100]), "data_page_size": random.choice([None, 64])}
    frame.write_parquet(path, **settings)
    return Case([path], kinds.from_table(polars.read_parquet(path).to_arrow()), "polars, " + describe(settings))


def polars_takes(kind):
    t = pa.types
    if isinstance(kind, pa.BaseExtensionType) or kinds.is_list(kind) or t.is_struct(kind) or t.is_map(kind) or t.is_dictionary(kind):
        return False
    if t.is_timestamp(kind) and (kind.tz or "")[:1] in ("+", "-"):
        return False
    return not (t.is_decimal256(kind) or t.is_null(kind) or t.is_float16(kind) or t.is_decimal(kind) or t.is_time(kind) or t.is_date64(kind) or t.is_interval(kind))


MAKERS = [(by_pyarrow, 6), (statistics, 2), (by_duckdb, 2), (by_polars, 1)]
