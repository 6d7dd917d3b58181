"""Writes FITS tables with astropy, and compares what was read of a table with what astropy reads.

usage: fits_tables.py write DIRECTORY
       fits_tables.py compare FILE.fits HDU FOUND.arrow [FILE.fits HDU FOUND.arrow ...]

FOUND is an Arrow IPC file, read by pyarrow. Ends with 1 and names file, column and row where it
differs from the table of FILE.
"""

import math
import pathlib
import sys
import warnings

import numpy as np
from astropy.io import fits

ROWS = 1000


def main(what, *rest):
    {"write": write, "compare": compare}[what](*rest)


def write(directory):
    directory = pathlib.Path(directory)
    rng = np.random.default_rng(1)
    for name, columns in {
        "numbers": numbers(rng, ROWS),
        "one_row": numbers(rng, 1),
        "no_rows": numbers(rng, 0),
        "scaled": scaled(rng),
        "arrays": arrays(rng),
        "texts": texts(),
        "heap": heap(rng),
        "wide_heap": heap(rng, "Q"),
        "wide_rows": wide_rows(rng),
    }.items():
        table = fits.BinTableHDU.from_columns(columns, name=name)
        image = fits.ImageHDU(np.zeros((7, 11), "i2"), name="picture")
        fits.HDUList([fits.PrimaryHDU(np.arange(5000.0)), image, table]).writeto(
            directory / f"{name}.fits"
        )
    scale(directory / "scaled.fits")
    image = fits.ImageHDU(np.zeros((7, 11), "i2"), name="picture")
    fits.HDUList([fits.PrimaryHDU(), image, ascii_table(rng)]).writeto(directory / "ascii.fits")
    known(directory / "known.fits")
    several().writeto(directory / "several.fits")
    time(directory / "time.fits")


def integers(rng, kind, rows, extremes=True):
    info = np.iinfo(kind)
    values = rng.integers(info.min, info.max, rows, dtype=kind, endpoint=True)
    if extremes and rows > 2:
        values[:2] = info.min, info.max
    return values


def floats(rng, kind, rows):
    values = rng.normal(0, 1e10, rows).astype(kind)
    values[3:9] = [np.nan, np.inf, -np.inf, -0.0, np.finfo(kind).tiny, np.finfo(kind).max][
        : max(0, min(6, rows - 3))
    ]
    return values


def numbers(rng, rows):
    small = rng.integers(0, 5, rows)
    return [
        fits.Column("logical", "L", array=small > 2),
        fits.Column("bit", "1X", array=(small > 1)[:, None]),
        fits.Column("u8", "B", array=integers(rng, "u1", rows)),
        fits.Column("i16", "I", array=integers(rng, "i2", rows)),
        fits.Column("i32", "J", array=integers(rng, "i4", rows)),
        fits.Column("i64", "K", array=integers(rng, "i8", rows)),
        fits.Column("i8", "B", bzero=-128, array=integers(rng, "i1", rows)),
        fits.Column("u16", "I", bzero=2**15, array=integers(rng, "u2", rows)),
        fits.Column("u32", "J", bzero=2**31, array=integers(rng, "u4", rows)),
        fits.Column("u64", "K", bzero=2**63, array=integers(rng, "u8", rows)),
        fits.Column("f32", "E", array=floats(rng, "f4", rows)),
        fits.Column("f64", "D", array=floats(rng, "f8", rows)),
        fits.Column("c64", "C", array=floats(rng, "f4", rows) + 2j),
        fits.Column("c128", "M", array=floats(rng, "f8", rows) - 3j),
        fits.Column("null8", "B", null=3, array=small.astype("u1")),
        fits.Column("null16", "I", null=-32768, array=np.where(small, small, -32768)),
        fits.Column("null32", "J", null=2, array=small),
        fits.Column("null64", "K", null=-(2**63), array=np.where(small, small, -(2**63))),
    ]


def scaled(rng):
    return [
        fits.Column("b", "B", array=integers(rng, "u1", ROWS)),
        fits.Column("i", "I", array=integers(rng, "i2", ROWS)),
        fits.Column("j", "J", null=5, array=np.arange(ROWS)),
        fits.Column("k", "K", array=integers(rng, "i4", ROWS)),
        fits.Column("e", "E", array=rng.normal(0, 1, ROWS)),
        fits.Column("d", "2D", array=rng.normal(0, 1, (ROWS, 2))),
    ]


def scale(path):
    """Says how the numbers that are stored are meant: astropy itself would divide them first."""
    for key, value in {
        "TSCAL1": 0.5,
        "TZERO1": 1,
        "TSCAL2": 0.25,
        "TZERO2": -3,
        "TSCAL3": 2,
        "TZERO4": 100,
        "TSCAL5": 10.0,
        "TZERO5": 1.5,
        "TSCAL6": 0.1,
    }.items():
        fits.setval(path, key, value=value, ext=2)


def arrays(rng):
    def many(kind, *shape):
        return np.stack([integers(rng, kind, ROWS) for _ in range(math.prod(shape))], 1).reshape(
            ROWS, *shape
        )

    return [
        fits.Column("logicals", "3L", array=many("u1", 3) > 99),
        fits.Column("bits", "13X", array=many("u1", 13) > 99),
        fits.Column("bytes", "5B", array=many("u1", 5)),
        fits.Column("shorts", "2I", array=many("i2", 2)),
        fits.Column("matrix", "6J", dim="(3,2)", array=many("i4", 2, 3)),
        fits.Column("u32s", "2J", bzero=2**31, array=many("u4", 2)),
        fits.Column("floats", "4E", array=many("i2", 4).astype("f4")),
        fits.Column("nulls", "3I", null=1, array=many("i2", 3) % 3),
        fits.Column("complex", "2C", array=many("i2", 2) + 1j),
        fits.Column("one", "1D", array=many("i2", 1)[:, 0].astype("f8")),
        fits.Column("nothing", "0J", array=np.zeros((ROWS, 0), "i4")),
    ]


def texts():
    words = ["", "a", "two words", "  leading", "full length!", "blank at end   ", "'quotes' \\ <&>"]
    column = [words[i % len(words)] for i in range(ROWS)]
    pairs = np.array([[words[i % 3], words[(i + 1) % 3]] for i in range(ROWS)])
    return [
        fits.Column("text", "16A", array=np.array(column)),
        fits.Column("narrow", "1A", array=np.array(["xy"[i % 2] for i in range(ROWS)])),
        fits.Column("pairs", "18A9", dim="(9,2)", array=pairs),
        fits.Column("number", "J", array=np.arange(ROWS)),
    ]


def heap(rng, code="P"):
    def lists(kind):
        found = np.empty(ROWS, object)
        for row in range(ROWS):
            found[row] = integers(rng, kind, row % 7, extremes=False)
        return found

    def of(code, kind, found=None):
        return fits.Column(code, f"{code}()", array=lists(kind) if found is None else found)

    strings = np.array(["x" * (row % 11) for row in range(ROWS)], object)
    logicals = np.array([np.arange(row % 5) % 2 == 1 for row in range(ROWS)], object)
    complexes = np.array([np.arange(row % 4) * (1 + 2j) for row in range(ROWS)], object)
    return [
        fits.Column("before", "J", array=np.arange(ROWS)),
        of(code + "B", "u1"),
        of(code + "I", "i2"),
        of(code + "J", "i4"),
        of(code + "K", "i8"),
        of(code + "E", "i2"),
        of(code + "D", "i4"),
        of(code + "L", None, logicals),
        of(code + "A", None, strings),
        of(code + "M", None, complexes),
    ]


def wide_rows(rng):
    return [
        fits.Column("first", "J", array=np.arange(20)),
        fits.Column("spectrum", "40000E", array=rng.normal(0, 1, (20, 40000)).astype("f4")),
        fits.Column("middle", "8A", array=np.array([f"row {row}" for row in range(20)])),
        fits.Column("other", "30000D", array=rng.normal(0, 1, (20, 30000))),
        fits.Column("last", "D", array=np.arange(20) / 7),
    ]


def ascii_table(rng):
    words = ["", "a", "two words", "  leading", "blank at end   "]
    columns = [
        fits.Column("short", "I4", array=rng.integers(-999, 9999, ROWS)),
        fits.Column("text", "A20", array=np.array([words[i % 5] for i in range(ROWS)])),
        fits.Column("int", "I9", array=rng.integers(-(10**8), 10**9, ROWS)),
        fits.Column("ten", "I10", array=rng.integers(-(10**9), 10**10, ROWS)),
        fits.Column("long", "I20", array=integers(rng, "i8", ROWS)),
        fits.Column("fixed", "F12.3", array=rng.normal(0, 1e3, ROWS).round(3)),
        fits.Column("single", "E15.7", array=rng.normal(0, 1e10, ROWS).astype("f4")),
        fits.Column("double", "D25.17", array=rng.normal(0, 1e-10, ROWS)),
    ]
    return fits.TableHDU.from_columns(columns, name="ascii")


def known(path):
    columns = [fits.Column(f"x{i}", "J", array=[1, 2]) for i in range(1, 7)]
    table = fits.BinTableHDU.from_columns(columns, name="catalogue")
    for key, value in {
        "TUCD1": "pos.eq.ra;meta.main",
        "TUTYP1": "char.spatial",
        "TXTYP1": "angle",
        "TCOMM1": "right ascension, as it was measured in a long night, 'quoted', and " + "far " * 20,
        "TUNIT1": "deg",
        "TNULL1": -9,
        "RADESYS": "FK5",
    }.items():
        table.header[key] = value
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
    # astropy does not write such names.
    file = path.read_bytes()
    for number, card in {
        1: "TTYPE1  = 'ra      '",
        2: "TTYPE2  = 'dec     '           / declination, from the comment",
        3: "TTYPE3  = 'flux    '           / label for field   3",
        4: "TTYPE4  = 'flux    '",
        5: "TTYPE5  = 'flux    '",
        6: "COMMENT   no name",
    }.items():
        at = file.index(f"TTYPE{number}  =".encode())
        file = file[:at] + f"{card:<80}".encode() + file[at + 80 :]
    path.write_bytes(file)


def several():
    def table(name, value):
        return fits.BinTableHDU.from_columns([fits.Column(name, "J", array=[value])], name=name)

    picture = fits.CompImageHDU(np.arange(400, dtype="i2").reshape(20, 20), name="compressed")
    return fits.HDUList([fits.PrimaryHDU(), picture, table("one", 1), table("two", 2)])


def time(path):
    from astropy.table import Table
    from astropy.time import Time

    times = Time([51544.5, 51545.25], format="mjd", scale="tdb")
    Table({"t": times, "n": [1, 2]}).write(path)


def compare(*tables):
    if not tables or len(tables) % 3:
        sys.exit(f"{len(tables)} arguments are no tables")
    for place in range(0, len(tables), 3):
        path, number, found = tables[place : place + 3]
        try:
            compare_table(path, number, found)
        except SystemExit as differs:
            sys.exit(f"{path}: {differs}")


def compare_table(path, number, found):
    import pyarrow as pa

    found = pa.ipc.open_file(found).read_all()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # What it takes for unsigned fails where another zero is meant.
        with fits.open(path, uint=not path.endswith("scaled.fits")) as hdus:
            table = hdus[int(number)]
            if len(table.columns) != found.num_columns or len(table.data) != found.num_rows:
                sys.exit(f"{found.num_columns} columns, {found.num_rows} rows")
            raw = np.array(table.data.view(np.ndarray))
            for place, column in enumerate(table.columns):
                compare_column(column, raw, table.data.field(place), found.column(place))


def compare_column(column, raw, values, found):
    integer = column.null is not None and not column.format.startswith(("P", "Q"))
    nulls = raw[column.name] == column.null if integer else None
    for row, have in enumerate(found.to_pylist()):
        want = plain(values[row], nulls[row] if integer else None)
        if isinstance(want, str) and raw[column.name].dtype.kind == "S" and not want:
            # A text that begins with NUL is null; astropy pads with NUL.
            want = have if have in (None, "") else want
        if not same(want, have):
            sys.exit(f"{column.name}, row {row}: {have!r} instead of {want!r}")


def plain(value, null=None):
    """A value as pyarrow gives it: arrays flat, complex numbers as pairs."""
    if isinstance(value, np.ndarray):
        null = np.zeros(value.shape, bool) if null is None else np.broadcast_to(null, value.shape)
        return [plain(v, n) for v, n in zip(value.flat, null.flat)]
    if null is not None and null:
        return None
    if isinstance(value, (complex, np.complexfloating)):
        return [float(value.real), float(value.imag)]
    if isinstance(value, str):
        return str(value).rstrip(" ")
    return value.item() if isinstance(value, np.generic) else value


def same(want, have):
    if isinstance(want, list) and len(want) == 1 and not isinstance(have, list):
        # Of one bit astropy makes an array.
        want = want[0]
    if isinstance(want, list):
        if isinstance(have, str):
            # Of a text in the heap astropy makes an array of characters.
            return "".join(want) == have
        return isinstance(have, list) and len(want) == len(have) and all(map(same, want, have))
    if isinstance(want, float) and isinstance(have, float):
        if math.isnan(want):
            return math.isnan(have)
        signs = math.copysign(1, want) == math.copysign(1, have)
        # astropy may scale in single precision.
        return signs and (want == have or math.isclose(want, have, rel_tol=1e-6))
    if isinstance(want, float) and isinstance(have, int) and abs(have) < 2**53:
        # astropy makes floats of signed bytes.
        return want == have
    if isinstance(want, str) and want == "" and have is None:
        return True
    return type(want) is type(have) and want == have


if __name__ == "__main__":
    main(*sys.argv[1:])
