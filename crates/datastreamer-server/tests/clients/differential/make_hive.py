"""Folders of Parquet, CSV and Arrow files, in hive layouts: zero-padded, null and escaped values,
names that are no data, and files that lack a column."""

import urllib.parse

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

import kinds
import values
from case import Case

NULL = "__HIVE_DEFAULT_PARTITION__"
# What is written in a path: the texts of one partition column.
SPELLINGS = [
    ["1", "2", "30"],
    ["01", "02", "12"],
    ["1", NULL, "3"],
    ["a", "b", NULL],
    ["a b", "c%d", "ü", "x=y", "a+b", "50%"],
    ["2024-01-01", "2024-12-31"],
    ["true", "false"],
    ["-1", "0", "1"],
    ["1.5", "2"],
]


def partitions(random, folder):
    """One file for each value of each key. The type of a key is the program's choice: its text is
    compared, and a null is null."""
    root = folder / "table"
    keys = random.sample(["month", "key", "Band"], random.choice([1, 1, 2]))
    spellings = [random.choice(SPELLINGS) for _ in keys]
    files = []
    suffix = random.choice(["parquet", "parquet", "arrow", "csv"])
    schema = pa.schema([("n", pa.int64()), ("f", pa.float64()), ("t", pa.string())])
    picked = {tuple(random.choice(spelling) for spelling in spellings) for _ in range(random.randint(1, 4))}
    for place, texts in enumerate(sorted(picked)):
        path = root.joinpath(*[f"{key}={text if text == NULL else urllib.parse.quote(text, safe=' ')}" for key, text in zip(keys, texts)])
        path.mkdir(parents=True)
        rows = random.randint(0, 3)
        table = pa.table([values.simple(random, rows, field.type) for field in schema], schema=schema)
        if suffix == "csv":
            # Its types are inferred: these are the same in every file.
            table = pa.table([[random.randint(1, 99) for _ in range(rows or 1)], [1.5] * (rows or 1), ["word"] * (rows or 1)], schema=schema)
        write(table, path / f"part-{place}.{suffix}")
        files.append((str(path / f"part-{place}"), texts, table))
    noise(random, root, suffix)
    files.sort(key=lambda file: file[0])
    table = pa.concat_tables([one for _, _, one in files])
    truth = kinds.from_table(table)
    for place, key in enumerate(keys):
        texts = [None if texts[place] == NULL else texts[place] for _, texts, one in files for _ in range(len(one))]
        truth.append(kinds.Column(key, kinds.Kind("partition"), texts))
    return Case(["table", "--table", root], None, f"{keys}, {sorted(picked)}, {suffix}", check=lambda found: check(truth, found))


def write(table, path):
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    elif path.suffix == ".csv":
        pyarrow.csv.write_csv(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)


def noise(random, root, suffix):
    """What is no data: names that begin with _ or a dot."""
    for name in random.sample(["_SUCCESS", ".crc", "_metadata", f"_part.{suffix}", f".part.{suffix}"], random.randint(0, 2)):
        (root / name).write_bytes(b"no data")


def check(truth, found):
    """The differences of the rows as a set: their order is that of the program's listing."""
    from compare import Difference

    names = [column.name for column in truth]
    if [column.name for column in found] != names:
        return [Difference("", None, repr(names), repr([column.name for column in found]), "names")]
    wanted = sorted(row_key([part_text(column.kind, value) for column, value in zip(truth, row)]) for row in zip(*[column.values for column in truth]))
    have = sorted(row_key([part_text(truth[place].kind, value) for place, value in enumerate(row)]) for row in zip(*[column.values for column in found]))
    if wanted != have:
        first = next((place for place, (one, other) in enumerate(zip(wanted, have)) if one != other), min(len(wanted), len(have)))
        return [Difference("row", first, repr(wanted[first : first + 1]), repr(have[first : first + 1]) + f" ({len(wanted)} and {len(have)} rows)", "partition")]
    return []


def row_key(row):
    return tuple("" if value is None else "=" + str(value) for value in row)


def part_text(kind, value):
    """A key's value as a text without its spelling: 01 is 1."""
    if value is None:
        return None
    if kind.base != "partition":
        return repr(value)
    import re

    if isinstance(value, str) and re.fullmatch(r"-?\d+", value):
        value = int(value)
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        import ours

        value = ours.days(value)
    if isinstance(value, str) and value in ("true", "false"):
        value = value == "true"
    if isinstance(value, str) and re.fullmatch(r"-?\d+\.\d+", value):
        value = float(value)
    return str(float(value)) if isinstance(value, (int, float)) and not isinstance(value, bool) else str(value)


def evolving(random, folder):
    """A column that one file lacks is null there."""
    root = folder / "table"
    root.mkdir()
    rows = [random.randint(1, 3) for _ in range(2)]
    nullable = random.random() < 0.5
    first = pa.table([pa.array(range(rows[0]), pa.int64()), values.simple(random, rows[0], pa.float64())], schema=pa.schema([pa.field("n", pa.int64(), nullable=nullable), ("f", pa.float64())]))
    second = pa.table([pa.array(range(rows[1]), pa.int64())], schema=pa.schema([pa.field("n", pa.int64())]))
    order = random.sample([first, second], 2)
    for place, table in enumerate(order):
        pq.write_table(table, root / f"{place}.parquet")
    whole = pa.concat_tables([one.cast(pa.schema([field.with_nullable(True) for field in one.schema])) for one in (order if order[0] is first else order)], promote_options="default")
    truth = kinds.from_table(whole.select(["n", "f"]))
    return Case(["table", "--table", root], truth, f"nullable={nullable}, first={'wide' if order[0] is first else 'narrow'}")


MAKERS = [(partitions, 3), (evolving, 1)]
