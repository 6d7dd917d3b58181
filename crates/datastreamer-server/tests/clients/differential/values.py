"""Random Arrow arrays of every type, with the values that readers and writers trip over."""

from decimal import Decimal
import math
import struct
import uuid

import pyarrow as pa

ZONES = ["UTC", "Europe/Berlin", "America/New_York", "+02:00", "-05:30", "Asia/Kathmandu"]
UNITS = ["s", "ms", "us", "ns"]
TEXTS = [
    "", " ", "  two blanks  ", "a,b", 'say "hi"', '"', "'", "<td>&amp;</td>", "]]>", "&lt;", "O'Neil", "NaN", "nan", "null", "NULL", "NA", "-",
    "-1", "007", "1e5", "inf", "true", "2024-02-30", "2024-01-01T00:00:00Z", "tab\there", "line\nbreak", "cr\rhere", "crlf\r\nhere", "back\\slash",
    "\\n", "\\N", "Ångström", "星", "😀", "e\u0301", "\u00a0", "\ufeffbom", "a\u2028b", "#comment", "=1+1", "{}", "[1]", "%41", "x" * 300,
]
ASCII = ["", "M31", "NGC 1275", "a b", "-1", "NaN", "T", "x" * 70, "<&>", "a,b", 'say "hi"', "O'Neil", "007"]
FLOATS = [0.0, -0.0, 1.0, -1.0, 0.1, 1 / 3, 1e23, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1.5e300, 9007199254740993.0, 1e16, 123456789.125, math.nan, math.inf, -math.inf]
INTEGERS = [0, 1, -1, 127, -128, 255, 32767, -32768, 65535, 2**31 - 1, -(2**31), 2**32 - 1, 2**53, 2**53 + 1, -(2**53) - 1, 2**63 - 1, -(2**63), 2**64 - 1]
# 0001-01-01, before the Gregorian calendar, a leap day, the last day that has four digits.
DAYS = [0, 1, -1, -719162, -141428, 19782, 20784, 2932896]
DAY_SECONDS = 86400


def pattern(random, rows, one, edges):
    """A column's values: random ones, few, one, sorted or nothing but nulls, and nulls among them."""
    draw = lambda: random.choice(edges) if edges and random.random() < 0.5 else one()
    how = random.choice(["any", "any", "any", "few", "constant", "nulls", "runs"])
    if how == "any":
        values = [draw() for _ in range(rows)]
    elif how == "few":
        few = [draw() for _ in range(3)]
        values = [random.choice(few) for _ in range(rows)]
    elif how == "constant":
        values = [draw()] * rows
    elif how == "runs":
        few = [draw() for _ in range(3)]
        values = [few[3 * row // max(rows, 1)] for row in range(rows)]
    else:
        return [None] * rows
    share = random.choice([0, 0, 0.1, 0.5])
    return [None if random.random() < share else value for value in values]


def floats(random, rows, code):
    """Floats, often one number and NaN, or zeros of both signs: what statistics do not tell apart."""
    size = struct.calcsize(code)
    fits = lambda value: struct.unpack(code, struct.pack(code, value))[0]
    edges = []
    for value in FLOATS:
        try:
            edges.append(fits(value))
        except OverflowError:
            pass
    if random.random() < 0.35:
        number = random.choice([fits(1.5), 0.0, -0.0, fits(-2.5)])
        few = random.choice([[number, math.nan], [0.0, -0.0], [number, number, None], [number, math.nan, None], [math.nan], [math.inf, math.nan]])
        return [random.choice(few) for _ in range(rows)]

    def one():
        if random.random() < 0.5:
            return fits(random.choice([random.gauss(0, 1), round(random.uniform(-100, 100), 2)]))
        return struct.unpack(code, random.randbytes(size))[0]

    return pattern(random, rows, one, edges)


def integers(random, rows, bits, signed):
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    edges = [value for value in INTEGERS if low <= value <= high]
    return pattern(random, rows, lambda: random.randint(low, high) if random.random() < 0.5 else random.randint(max(low, -9), 9), edges)


def texts(random, rows):
    return pattern(random, rows, lambda: "".join(random.choice("abcXYZ019 -_.,;\"'\\\t\nåß星") for _ in range(random.randint(0, 12))), TEXTS)


def decimals(random, rows, precision, scale):
    top = 10**precision - 1
    exact = lambda unscaled: Decimal(unscaled).scaleb(-scale, context=WIDE)
    return pattern(random, rows, lambda: exact(random.randint(-top, top)), [exact(n) for n in (0, 1, -1, top, -top, top // 2)])


def instants(random, rows, unit):
    """Integers in the unit, within years of four digits, and within 64 bits."""
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    days = [day for day in DAYS if abs(day * DAY_SECONDS * per_second) < 2**63 - DAY_SECONDS * per_second]
    span = (-106751, 106750) if unit == "ns" else (-719162, 2932896)
    one = lambda: random.randint(*span) * DAY_SECONDS * per_second + random.randrange(DAY_SECONDS * per_second)
    edges = [day * DAY_SECONDS * per_second + part for day in days for part in (0, DAY_SECONDS * per_second - 1)]
    return pattern(random, rows, one, edges)


def times(random, rows, unit):
    top = DAY_SECONDS * {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return pattern(random, rows, lambda: random.randrange(top), [0, top - 1, top // 2])


def simple(random, rows, kind):
    """An array of a type without children."""
    t = pa.types
    if t.is_null(kind):
        return pa.nulls(rows)
    if t.is_boolean(kind):
        return pa.array(pattern(random, rows, lambda: random.random() < 0.5, []), kind)
    if t.is_integer(kind):
        return pa.array(integers(random, rows, kind.bit_width, t.is_signed_integer(kind)), kind)
    if t.is_floating(kind):
        return pa.array(floats(random, rows, {16: "<e", 32: "<f", 64: "<d"}[kind.bit_width]), pa.float64()).cast(kind)
    if t.is_decimal(kind):
        return pa.array(decimals(random, rows, kind.precision, kind.scale), kind)
    if t.is_date32(kind):
        return pa.array(pattern(random, rows, lambda: random.randint(-719162, 2932896), DAYS), pa.int32()).view(kind)
    if t.is_date64(kind):
        days = pattern(random, rows, lambda: random.randint(-719162, 2932896), DAYS)
        return pa.array([None if day is None else day * DAY_SECONDS * 1000 for day in days], pa.int64()).view(kind)
    if t.is_timestamp(kind):
        return pa.array(instants(random, rows, kind.unit), pa.int64()).view(kind)
    if t.is_time(kind):
        return pa.array(times(random, rows, kind.unit), pa.int64() if t.is_time64(kind) else pa.int32()).view(kind)
    if t.is_duration(kind):
        return pa.array(integers(random, rows, 63, True), pa.int64()).view(kind)
    if t.is_interval(kind):
        one = lambda: pa.MonthDayNano([random.randint(-40, 40), random.randint(-40, 40), random.randint(-(10**12), 10**12)])
        return pa.array(pattern(random, rows, one, []), kind)
    if isinstance(kind, pa.UuidType):
        return pa.array(pattern(random, rows, lambda: uuid.UUID(bytes=random.randbytes(16)).bytes, [bytes(16)]), pa.binary(16)).cast(kind)
    if t.is_fixed_size_binary(kind):
        return pa.array(pattern(random, rows, lambda: random.randbytes(kind.byte_width), []), kind)
    if t.is_binary(kind) or t.is_large_binary(kind) or t.is_binary_view(kind):
        return pa.array(pattern(random, rows, lambda: random.randbytes(random.randint(0, 6)), [b"", b"\0", b"\xff\xfe"]), kind)
    return pa.array(texts(random, rows), kind)


def plain_kinds():
    """Types without children that Parquet and Arrow both hold."""
    kinds = [pa.bool_(), pa.float16(), pa.float32(), pa.float32(), pa.float64(), pa.float64(), pa.float64(), pa.date32(), pa.date64()]
    kinds += [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
    kinds += [pa.string(), pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(), pa.binary(5), pa.uuid()]
    kinds += [pa.decimal32(7, 2), pa.decimal64(15, 0), pa.decimal128(9, 3), pa.decimal128(38, 10), pa.decimal128(20, 20), pa.decimal256(60, 12), pa.decimal256(76, 0)]
    kinds += [pa.time32("s"), pa.time32("ms"), pa.time64("us"), pa.time64("ns")]
    kinds += [pa.timestamp(unit) for unit in UNITS]
    return kinds


def any_kind(random, for_arrow=False):
    """A random type without children."""
    if random.random() < 0.12:
        return pa.timestamp(random.choice(UNITS), random.choice(ZONES))
    if random.random() < 0.04:
        return pa.duration(random.choice(UNITS))
    if random.random() < 0.03:
        return pa.null()
    if for_arrow and random.random() < 0.05:
        return random.choice([pa.month_day_nano_interval(), pa.decimal128(10, -3)])
    return random.choice(plain_kinds())


def offsets(random, rows, low=0, high=4):
    ends, end = [0], 0
    for _ in range(rows):
        end += random.randint(low, high)
        ends.append(end)
    return ends


def any_array(random, rows, for_arrow=False, depth=0):
    """A random array, now and then nested or a dictionary."""
    if random.random() > (0.22 if depth == 0 else 0.3) or depth > 2:
        return simple(random, rows, any_kind(random, for_arrow))
    how = random.choice(["dictionary", "list", "list", "large", "fixed", "struct", "map"] + (["view", "ree"] if for_arrow else []))
    share = random.choice([0, 0.2])
    nulls = pa.array([random.random() < share for _ in range(rows)], pa.bool_())
    if how == "dictionary":
        # Texts most often, and now and then what seldom has a dictionary.
        kind = random.choice([pa.string(), pa.string(), pa.large_string(), pa.binary(), pa.int32(), pa.float64(), pa.float16(), pa.decimal128(9, 3), pa.timestamp("us", "UTC"), pa.date32(), pa.bool_()] + ([pa.string_view()] if for_arrow else []))
        words = simple(random, random.randint(1, 9), kind)
        if not for_arrow:
            # pyarrow writes no dictionary with a null in it as Parquet.
            words = words.drop_null()
        share = random.choice([0, 0.3])
        places = [random.randrange(len(words)) if len(words) and random.random() >= share else None for _ in range(rows)]
        return pa.DictionaryArray.from_arrays(pa.array(places, random.choice([pa.int8(), pa.int16(), pa.int32(), pa.uint8()])), words)
    if how == "ree":
        lengths = sorted(random.sample(range(1, rows + 1), min(3, rows)) + [rows]) if rows else []
        lengths = sorted(set(lengths))
        return pa.RunEndEncodedArray.from_arrays(pa.array(lengths, pa.int32()), simple(random, len(lengths), random.choice([pa.int32(), pa.string(), pa.float64()])))
    if how in ("list", "large", "view"):
        ends = offsets(random, rows)
        inner = any_array(random, ends[-1], for_arrow, depth + 1)
        if how == "view":
            sizes = [after - before for before, after in zip(ends, ends[1:])]
            return pa.ListViewArray.from_arrays(pa.array(ends[:-1], pa.int32()), pa.array(sizes, pa.int32()), inner)
        if how == "large":
            return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), inner, mask=nulls)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), inner, mask=nulls)
    if how == "fixed":
        length = random.choice([1, 2, 3])
        return pa.FixedSizeListArray.from_arrays(any_array(random, rows * length, for_arrow, 3), length, mask=nulls)
    if how == "struct":
        parts = [any_array(random, rows, for_arrow, depth + 1) for _ in range(random.randint(1, 3))]
        return pa.StructArray.from_arrays(parts, [f"f{place}" for place in range(len(parts))], mask=nulls)
    ends = offsets(random, rows)
    keys = pa.array([f"k{place}" for place in range(ends[-1])], pa.string())
    return pa.MapArray.from_arrays(pa.array(ends, pa.int32()), keys, any_array(random, ends[-1], for_arrow, 3))


from decimal import Context  # noqa: E402

WIDE = Context(prec=100)


def any_table(random, for_arrow=False):
    """A random table of 1 to 6 columns; most have some ten rows, a few none or some thousand."""
    rows = random.choice([1, 2, 3, 5, 10, 20, 20, 40, 40, 0, 300] + ([3000] if random.random() < 0.1 else []))
    columns = [any_array(random, rows, for_arrow) for _ in range(random.randint(1, 6))]
    names = [random_name(random, place) for place in range(len(columns))]
    fields = [pa.field(name, array.type, nullable=may_be_null(array) or random.random() < 0.7) for name, array in zip(names, columns)]
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def may_be_null(array):
    """Runs have their nulls among their values."""
    return array.null_count > 0 or pa.types.is_run_end_encoded(array.type) or pa.types.is_null(array.type)


def random_name(random, place):
    if random.random() < 0.85:
        return f"c{place}"
    return random.choice(["Upper", "with space", "ünicode", "a.b", "a-b", "select", "x,y", "per%cent", "q?", "a&b", "(p)", '"quoted"', "a=b", "1st", "_u"]) + str(place)
