"""Arrow IPC files and streams by pyarrow and polars: compressions, batches, dictionaries that grow."""

import pyarrow as pa
import pyarrow.feather

import kinds
import values
from case import Case

SUFFIXES = ["arrow", "arrow", "arrows", "feather", "ipc"]


def in_pieces(random, table):
    """The same rows in several batches, empty ones among them."""
    whole = table.combine_chunks().to_batches()
    if not whole:
        return []
    ends = sorted(random.choice(range(len(table) + 1)) for _ in range(random.randint(0, 3)))
    return [whole[0].slice(begin, end - begin) for begin, end in zip([0, *ends], [*ends, len(table)])]


def by_pyarrow(random, folder):
    table = values.any_table(random, for_arrow=True)
    path = folder / f"table.{random.choice(SUFFIXES)}"
    codec = random.choice([None, "lz4", "zstd"])
    is_stream = random.random() < 0.5
    options = pa.ipc.IpcWriteOptions(compression=codec, emit_dictionary_deltas=is_stream and random.random() < 0.5)
    make = pa.ipc.new_stream if is_stream else pa.ipc.new_file
    batches = in_pieces(random, table)
    with make(str(path), table.schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return Case([path], kinds.from_table(table), f"{'stream' if is_stream else 'file'}, {codec}, {len(batches)} batches")


def dictionaries(random, folder):
    """A dictionary that is another in each batch, or grows."""
    path = folder / "table.arrows"
    grows = random.random() < 0.5
    options = pa.ipc.IpcWriteOptions(emit_dictionary_deltas=grows)
    words, batches = [], []
    for _ in range(random.randint(1, 4)):
        new = ["", *values.TEXTS[: random.randint(1, 9)]] if not words else [f"w{random.randrange(1000)}" for _ in range(3)]
        words = words + [word for word in dict.fromkeys(new) if word not in words] if grows else list(dict.fromkeys(new))
        places = pa.array([random.choice([*range(len(words)), None]) for _ in range(random.randint(0, 6))], pa.int8())
        batches.append(pa.record_batch([pa.DictionaryArray.from_arrays(places, pa.array(words))], ["d"]))
    with pa.ipc.new_stream(str(path), batches[0].schema, options=options) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return Case([path], kinds.from_table(pa.ipc.open_stream(str(path)).read_all()), f"deltas={grows}")


def feather(random, folder):
    table = values.any_table(random)
    path = folder / "table.feather"
    codec = random.choice(["uncompressed", "lz4", "zstd"])
    pyarrow.feather.write_feather(table, str(path), compression=codec, chunksize=random.choice([None, 1, 7]))
    return Case([path], kinds.from_table(pyarrow.feather.read_table(str(path))), codec)


def by_polars(random, folder):
    import polars

    import make_parquet

    table = values.any_table(random)
    usable = [name for place, name in enumerate(table.column_names) if make_parquet.polars_takes(table.schema.field(place).type) and table.column_names.count(name) == 1]
    if not usable:
        table, usable = pa.table({"f": [1.0, float("nan"), None]}), ["f"]
    frame = polars.from_arrow(table.select(usable))
    path = folder / "table.arrow"
    codec = random.choice(["uncompressed", "lz4", "zstd"])
    if random.random() < 0.5:
        frame.write_ipc(path, compression=codec)
    else:
        frame.write_ipc_stream(path, compression=codec)
    return Case([path], kinds.from_table(frame.to_arrow()), f"polars, {codec}")


MAKERS = [(by_pyarrow, 5), (dictionaries, 1), (feather, 1), (by_polars, 1)]
