"""Makes one table for two servers, and narrowings of it at random with the rows that DuckDB finds.

narrowed.py SEED CASES writes into the working directory: t.parquet; t.sql, which makes the same table
in PostgreSQL; cases.json, a list of [parameters of a URL, ids of the rows without order].
"""

import datetime
import decimal
import json
import random
import sys
from urllib.parse import quote

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 300
EPOCH = datetime.datetime(1970, 1, 1)
TEXTS = [
    "", "a", "A", "b", "ab", "aB", "null", "NaN", "x,y", "(x)", 'say "hi"', "back\\slash", "100%",
    "a_b", "a*b", "a.b", "or(a.eq.1)", "Ä", "ä", "Straße", "日本", "a ", " a", "line\nbreak", "'; --",
    "z" * 40, "$1", "a\tb",
]
TYPES = {
    "id": ("integer", pa.int32(), "INTEGER"),
    "i": ("bigint", pa.int64(), "BIGINT"),
    "f": ("float8", pa.float64(), "DOUBLE"),
    "g": ("float4", pa.float32(), "FLOAT"),
    "t": ("text", pa.string(), "VARCHAR"),
    "d": ("numeric(12,3)", pa.decimal128(12, 3), "DECIMAL(12,3)"),
    "day": ("date", pa.date32(), "DATE"),
    "at": ("timestamp", pa.timestamp("us"), "TIMESTAMP"),
    "at.z": ("timestamptz", pa.timestamp("us", "UTC"), "TIMESTAMPTZ"),
    "b": ("boolean", pa.bool_(), "BOOLEAN"),
    "y": ("bytea", pa.binary(), "BLOB"),
    "o": ("time", pa.time64("us"), "TIME"),
}
FLOATS = {"f", "g"}
TIMES = {"at", "at.z"}


def value(rng, name):
    """A value of a column, of few enough that rows are equal in it."""
    match name:
        case "i":
            return rng.choice([-(2**63), -5, -1, 0, 1, 2, 3, 7, 10, 2**53 + 1, 2**63 - 1])
        case "f" | "g":
            return rng.choice([float("nan"), float("inf"), float("-inf"), -0.0, 0.0, 1.0, -1.5, 0.25, 1e10, 2.0**-20])
        case "t":
            return rng.choice(TEXTS)
        case "d":
            return decimal.Decimal(rng.choice([-1500, 0, 1, 10, 1000, 1234, 999999999999, -1])).scaleb(-3)
        case "day":
            return datetime.date.fromordinal(rng.choice([1, 500000, 719163, 719162, 730000, 738000, 738001]))
        case "at" | "at.z":
            moment = EPOCH + datetime.timedelta(microseconds=rng.choice([-1, 0, 1, 10**12, 17 * 10**14, 17 * 10**14 + 5, -(2 * 10**16)]))
            return moment.replace(tzinfo=datetime.timezone.utc) if name == "at.z" else moment
        case "b":
            return rng.random() < 0.5
        case "y":
            return rng.choice([b"", b"\0", b"\0\xff", b"a", b"ab", b"\xff"])
        case "o":
            return datetime.time(*rng.choice([(0, 0), (12, 30, 5), (23, 59, 59, 999999), (12, 30)]))


def asked(rng, name, one):
    """How a filter has a value."""
    if name in FLOATS:
        return {"nan": "NaN", "inf": "inf", "-inf": "-inf"}.get(str(one), repr(one))
    if name == "b":
        return str(one).lower()
    if name == "y":
        return one.hex()
    if name == "at.z":
        if rng.random() < 0.3:
            zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
            return one.astimezone(zone).isoformat()
        return one.isoformat().replace("+00:00", "Z")
    if name in ("day", "at", "o"):
        return one.isoformat()
    return str(one)


def sql(name, one):
    """A value in DuckDB's SQL."""
    if isinstance(one, bytes):
        return "'" + "".join(f"\\x{byte:02x}" for byte in one) + "'::BLOB"
    text = str(one).replace("'", "''")
    return f"CAST('{text}' AS {TYPES[name][2]})"


def number(name, condition):
    """A comparison of floats that NaN does not satisfy."""
    return f"({condition} AND NOT isnan({column(name)}))" if name in FLOATS else condition


def column(name):
    return f'"{name}"'


def equal(name, one):
    if one != one:
        return f"isnan({column(name)})"
    return number(name, f"{column(name)} = {sql(name, one)}")


def quoted(text):
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def listed(text):
    special = not text or any(c in text for c in ',()"\\') or text.startswith(" ")
    return quoted(text) if special else text


def pattern(rng):
    """A pattern as a URL has it, and in SQL."""
    asked, of_sql = "", ""
    for character in rng.choice(TEXTS)[:6]:
        wild = rng.random()
        if wild < 0.2:
            asked, of_sql = asked + rng.choice("*%"), of_sql + "%"
        elif wild < 0.3:
            asked, of_sql = asked + "_", of_sql + "_"
        elif character in "*%_\\":
            asked, of_sql = asked + "\\" + character, of_sql + ("*" if character == "*" else "\\" + character)
        else:
            asked, of_sql = asked + character, of_sql + character
    if rng.random() < 0.4:
        asked, of_sql = asked + "*", of_sql + "%"
    return asked, of_sql


def simple(rng):
    """A column, its condition in a URL behind a possible `not.`, as (operator, value), and in SQL."""
    name = rng.choice(list(TYPES))
    kind = rng.random()
    ids = lambda: rng.randrange(-1, ROWS + 1)
    one = ids() if name == "id" else value(rng, name)
    if kind < 0.12:
        word, of_sql = rng.choice([("null", "IS NULL"), ("not_null", "IS NOT NULL")])
        if name == "b":
            word = rng.choice(["null", "true", "false", "unknown"])
            of_sql = {"null": "IS NULL", "unknown": "IS NULL", "true": "IS TRUE", "false": "IS FALSE"}[word]
            if word in ("true", "false"):
                return name, "is", word, f"(coalesce({column(name)}, {word == 'false'}) = {word})"
        return name, "is", word, f"({column(name)} {of_sql})"
    if name == "t" and kind < 0.4:
        given, of_sql = pattern(rng)
        return name, "like", given, f"({column(name)} LIKE {sql(name, of_sql)} ESCAPE '\\')"
    if kind < 0.3:
        several = [ids() if name == "id" else value(rng, name) for _ in range(rng.randrange(5))]
        texts = ",".join(listed(asked(rng, name, one)) for one in several)
        any_of = " OR ".join(equal(name, one) for one in several) or f"({column(name)} IS NOT DISTINCT FROM NULL AND FALSE)"
        return name, "in", f"({texts})", f"({any_of})"
    operator = rng.choice(["eq", "neq", "gt", "gte", "lt", "lte"])
    if one != one:
        operator = rng.choice(["eq", "neq"])
    of_one = f"({equal(name, one)})"
    if operator == "neq":
        of_one = f"(NOT {of_one})"
    elif operator != "eq":
        sign = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}[operator]
        of_one = "(" + number(name, f"{column(name)} {sign} {sql(name, one)}") + ")"
    return name, operator, asked(rng, name, one), of_one


def tree(rng, depth=0):
    """A condition within or(...), and in SQL."""
    negated = rng.random() < 0.25
    before = "not." if negated else ""
    if depth < 3 and (depth == 0 or rng.random() < 0.35):
        word = rng.choice(["or", "and"])
        parts = [tree(rng, depth + 1) for _ in range(rng.randrange(1, 4))]
        of_url = f"{before}{word}({','.join(part for part, _ in parts)})"
        of_sql = "(" + f" {word.upper()} ".join(part for _, part in parts) + ")"
    else:
        name, operator, given, of_sql = simple(rng)
        if operator != "in" and (any(c in given for c in ',()"\\') or rng.random() < 0.2):
            given = quoted(given)
        shown = quoted(name) if rng.random() < 0.3 else name
        of_url = f"{shown}.{before}{operator}.{given}"
    return of_url, f"(NOT {of_sql})" if negated else of_sql


def case(rng, connection):
    parameters, conditions = [], []
    for _ in range(rng.randrange(3)):
        name, operator, given, of_sql = simple(rng)
        negated = rng.random() < 0.25
        parameters.append((name, f"{'not.' if negated else ''}{operator}.{given}"))
        conditions.append(f"(NOT {of_sql})" if negated else of_sql)
    for _ in range(rng.randrange(1, 3) if not parameters or rng.random() < 0.5 else 0):
        of_url, of_sql = tree(rng)
        name, _, rest = of_url.partition("(")
        parameters.append((name, f"({rest}"))
        conditions.append(of_sql)
    where = " AND ".join(conditions)
    found = [one for (one,) in connection.execute(f'SELECT id FROM t WHERE {where} ORDER BY id').fetchall()]
    query = "&".join(f"{quote(name, safe='')}={quote(given, safe='')}" for name, given in parameters)
    return [query, found]


def of_postgres(one):
    if one is None:
        return "NULL"
    if isinstance(one, bytes):
        return f"'\\x{one.hex()}'"
    text = one.isoformat() if hasattr(one, "isoformat") else str(one)
    return "'" + text.replace("'", "''") + "'"


def main():
    seed, count = map(int, sys.argv[1:3])
    rng = random.Random(seed)
    rows = [
        {name: number if name == "id" else (None if rng.random() < 0.15 else value(rng, name)) for name in TYPES}
        for number in range(ROWS)
    ]
    schema = pa.schema([(name, data_type) for name, (_, data_type, _) in TYPES.items()])
    pq.write_table(pa.Table.from_pylist(rows, schema), "t.parquet", row_group_size=97)
    columns = ", ".join(f'"{name}" {of_server}' for name, (of_server, _, _) in TYPES.items())
    inserts = (f"({', '.join(of_postgres(one) for one in row.values())})" for row in rows)
    with open("t.sql", "w") as out:
        out.write(f"CREATE TABLE t ({columns}); INSERT INTO t VALUES {', '.join(inserts)};")
    connection = duckdb.connect()
    connection.execute("SET TimeZone = 'UTC'")
    connection.execute("CREATE TABLE t AS SELECT * FROM 't.parquet'")
    cases = [case(rng, connection) for _ in range(count)]
    with open("cases.json", "w") as out:
        json.dump(cases, out)
    found = sum(0 < len(ids) < ROWS for _, ids in cases)
    print(f"{count} narrowings, {found} with some of the rows")


main()
