"""The canonical form of a column: its kind and its values, whatever file they come from.

A value is None, bool, int, float, Decimal, str, bytes, a list, or a dict. Times are integers, in
nanoseconds: an instant since 1970 (UTC), a time since midnight; a date is days since 1970. A float
of 16 or 32 bits is the float of 64 bits that equals it. Read from Arrow's arrays here, and from
other files by `make_*.py` and `ours.py`.
"""

from dataclasses import dataclass
from decimal import Decimal
import uuid

import pyarrow as pa

NANOSECONDS = {"s": 10**9, "ms": 10**6, "us": 1000, "ns": 1}


@dataclass(frozen=True)
class Kind:
    """What a column holds. `inner` are the kinds within it, `names` those of a struct's fields."""

    base: str
    zoned: bool = False
    inner: tuple = ()
    names: tuple = ()

    def __str__(self):
        inner = f"<{', '.join(map(str, self.inner))}>" if self.inner else ""
        return self.base + ("+zone" if self.zoned else "") + inner


@dataclass
class Column:
    name: str
    kind: Kind
    values: list


def from_table(table):
    """The columns of an Arrow table."""
    return [Column(name, kind_of(table.schema.field(place).type), values_of(table.column(place))) for place, name in enumerate(table.column_names)]


def kind_of(data_type):
    t = pa.types
    if isinstance(data_type, pa.BaseExtensionType):
        return Kind("uuid") if data_type.extension_name == "arrow.uuid" else kind_of(data_type.storage_type)
    if t.is_dictionary(data_type):
        return kind_of(data_type.value_type)
    if t.is_run_end_encoded(data_type):
        return kind_of(data_type.value_type)
    if t.is_timestamp(data_type):
        return Kind("instant", zoned=data_type.tz is not None)
    if t.is_map(data_type):
        return Kind("map", inner=(kind_of(data_type.key_type), kind_of(data_type.item_type)))
    if t.is_struct(data_type):
        fields = [data_type.field(place) for place in range(data_type.num_fields)]
        return Kind("struct", inner=tuple(kind_of(field.type) for field in fields), names=tuple(field.name for field in fields))
    if is_list(data_type):
        return Kind("list", inner=(kind_of(data_type.value_type),))
    for base, is_of in BASES:
        if is_of(data_type):
            return Kind(base)
    raise TypeError(f"no canonical form of {data_type}")


def is_list(data_type):
    t = pa.types
    return any(is_of(data_type) for is_of in (t.is_list, t.is_large_list, t.is_fixed_size_list, t.is_list_view, t.is_large_list_view))


def is_any_text(data_type):
    t = pa.types
    return t.is_string(data_type) or t.is_large_string(data_type) or t.is_string_view(data_type)


def is_any_binary(data_type):
    t = pa.types
    return t.is_binary(data_type) or t.is_large_binary(data_type) or t.is_binary_view(data_type) or t.is_fixed_size_binary(data_type)


BASES = [
    ("null", pa.types.is_null),
    ("bool", pa.types.is_boolean),
    ("int", pa.types.is_integer),
    ("float32", lambda kind: pa.types.is_float16(kind) or pa.types.is_float32(kind)),
    ("float64", pa.types.is_float64),
    ("decimal", pa.types.is_decimal),
    ("text", is_any_text),
    ("bytes", is_any_binary),
    ("date", pa.types.is_date),
    ("time", pa.types.is_time),
    ("duration", pa.types.is_duration),
    ("interval", pa.types.is_interval),
]


def values_of(array):
    """The values of an array or a chunked array."""
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in values_of(chunk)]
    data_type, t = array.type, pa.types
    if isinstance(data_type, pa.BaseExtensionType):
        stored = values_of(array.storage)
        if kind_of(data_type).base != "uuid":
            return stored
        return [None if value is None else str(uuid.UUID(bytes=value)) for value in stored]
    if t.is_dictionary(data_type):
        values = values_of(array.dictionary)
        return [None if place is None else values[place] for place in array.indices.to_pylist()]
    if t.is_run_end_encoded(data_type):
        return values_of(pa.compute.run_end_decode(array))
    if t.is_map(data_type):
        return [None if not one.is_valid else list(map(list, zip(*(values_of(one.values.field(part)) for part in (0, 1))))) for one in array]
    if t.is_struct(data_type):
        parts = [values_of(part) for part in array.flatten()]
        names = [data_type.field(place).name for place in range(data_type.num_fields)]
        rows = zip(*parts) if parts else [()] * len(array)
        return [dict(zip(names, row)) if valid else None for row, valid in zip(rows, array.is_valid().to_pylist())]
    if is_list(data_type):
        return [None if not one.is_valid else values_of(one.values) for one in array]
    if t.is_date32(data_type):
        return array.view(pa.int32()).to_pylist()
    if t.is_date64(data_type):
        return [None if value is None else value // 86_400_000 for value in array.view(pa.int64()).to_pylist()]
    if t.is_timestamp(data_type) or t.is_duration(data_type):
        return scaled(array.view(pa.int64()), data_type.unit)
    if t.is_time(data_type):
        return scaled(array.view(pa.int64() if t.is_time64(data_type) else pa.int32()), data_type.unit)
    if t.is_interval(data_type):
        return [None if value is None else tuple(value) for value in array.to_pylist()]
    if t.is_float16(data_type):
        return [None if value is None else float(value) for value in array.to_pylist()]
    if t.is_decimal(data_type):
        return [None if value is None else Decimal(value) for value in array.to_pylist()]
    return array.to_pylist()


def scaled(array, unit):
    return [None if value is None else value * NANOSECONDS[unit] for value in array.to_pylist()]
