"""FITS files of several tables: makes them, and compares what is served of them with astropy and STILTS.

    hdus.py make FILE            writes FILE, and FILE.gz
    hdus.py swap FILE            writes FILE anew, with EVENTS and GTI in the other order
    hdus.py compare FILE URL     reads URL.FORMAT?hdu=N and ?hdu=NAME for every table of FILE
    hdus.py stilts FILE URL STILTS
"""

import csv
import gzip
import io
import math
import shutil
import subprocess
import sys
import urllib.request

import numpy as np
import pyarrow.parquet
from astropy.io import fits

# HDU numbers as astropy counts them, and the names by which each can be asked for.
TABLES = {1: ["EVENTS", "events"], 3: ["GTI"], 4: ["SCI,1"], 5: ["SCI,2"], 8: [], 9: []}


def events(rows, name, version=1):
    generator = np.random.default_rng(rows)
    bits = generator.integers(0, 2**63, rows, dtype=np.int64)
    columns = [
        fits.Column("n", "K", array=np.arange(rows) * 7_000_000_007),
        fits.Column("unsigned", "J", bzero=2**31, array=(bits % 2**32).astype(np.uint32)),
        fits.Column("ra", "D", unit="deg", array=generator.normal(size=rows) * 1e3),
        fits.Column("mag", "E", array=generator.normal(size=rows).astype(np.float32)),
        fits.Column("flag", "L", array=bits % 3 == 0),
        fits.Column("name", "9A", array=[f"{name} {n % 997}" for n in range(rows)]),
    ]
    hdu = fits.BinTableHDU.from_columns(columns, name=name, ver=version)
    return hdu


def gti():
    columns = [
        fits.Column("start", "D25.16", array=np.array([0.1, -2.5e10, 1 / 3])),
        fits.Column("count", "I9", array=np.array([1, -22, 333])),
        fits.Column("label", "A6", array=["one", "two", "three"]),
    ]
    return fits.TableHDU.from_columns(columns, name="GTI")


def make(path, swapped=False):
    nameless = events(2, "x")
    del nameless.header["EXTNAME"]
    del nameless.header["EXTVER"]
    compressed = events(3, "ZT")
    compressed.header["ZTABLE"] = True
    tables = [events(1000, "EVENTS"), fits.ImageHDU(np.zeros((3, 4)), name="IMG"), gti()]
    if swapped:
        # The same columns, so that only the name tells them apart.
        tables = [events(1000, "OTHERS"), tables[1], events(1000, "EVENTS")]
    hdus = fits.HDUList(
        [fits.PrimaryHDU(np.zeros((5, 5), dtype=np.int16)), *tables]
        + [events(10, "SCI"), events(20, "SCI", 2)]
        + [fits.CompImageHDU(np.arange(100).reshape(10, 10), name="COMP"), compressed]
        + [nameless, events(4, "1")]
    )
    hdus.writeto(path, overwrite=True)
    with open(path, "rb") as plain, gzip.open(path + ".gz", "wb") as compressed:
        shutil.copyfileobj(plain, compressed)


def read(url):
    with urllib.request.urlopen(url) as response:
        return response.read()


def rows_of(data):
    """Rows as plain values of Python, texts without the blanks at their ends."""

    def plain(value):
        value = value.item() if isinstance(value, np.generic) else value
        return value.rstrip(" ") if isinstance(value, str) else value

    names = data.dtype.names
    return [tuple(plain(row[name]) for name in names) for row in data]


def rows_of_text(text, like):
    """Rows of CSV, as values of the same types."""
    parsed = list(csv.reader(io.StringIO(text)))[1:]

    def value(text, wanted):
        if isinstance(wanted, bool):
            return text.strip().lower() == "true"
        if isinstance(wanted, float):
            return float(text)
        return type(wanted)(text.strip()) if not isinstance(wanted, str) else text

    return [tuple(value(*pair) for pair in zip(row, like, strict=True)) for row in parsed]


def same(found, wanted, what):
    assert len(found) == len(wanted), f"{what}: {len(found)} rows, not {len(wanted)}"
    for place, (one, other) in enumerate(zip(found, wanted)):
        for left, right in zip(one, other, strict=True):
            is_nan = isinstance(left, float) and math.isnan(left) and math.isnan(right)
            assert is_nan or left == right, f"{what}, row {place}: {one} is not {other}"


def floats_as_read(rows, data):
    """Floats of 32 bits as CSV has them: the shortest text that reads back."""
    singles = [data.dtype[name].kind == "f" and data.dtype[name].itemsize == 4 for name in data.dtype.names]

    def one(value, single):
        return float(np.float32(value)) if single else value

    return [tuple(one(*pair) for pair in zip(row, singles, strict=True)) for row in rows]


def compare(path, url):
    compared = 0
    with fits.open(path) as hdus:
        for number, names in TABLES.items():
            data = hdus[number].data
            wanted = rows_of(data)
            for name in [str(number), *names]:
                query = "?hdu=" + urllib.parse.quote(name)
                table = pyarrow.parquet.read_table(io.BytesIO(read(url + ".parquet" + query)))
                found = [tuple(row.values()) for row in table.to_pylist()]
                same(found, wanted, f"parquet {name}")
                with fits.open(io.BytesIO(read(url + ".fits" + query))) as written:
                    assert len(written) == 2, f"fits {name}: {len(written)} HDUs"
                    same(rows_of(written[1].data), wanted, f"fits {name}")
                text = read(url + ".csv" + query).decode()
                found = floats_as_read(rows_of_text(text, wanted[0]), data)
                same(found, wanted, f"csv {name}")
                compared += 3
    print(compared)


def stilts(path, url, program):
    for number in TABLES:
        command = [program, "tcopy", f"in={path}#{number}", "ifmt=fits", "ofmt=csv", "out=-"]
        of_stilts = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        ours = read(f"{url}.csv?hdu={number}").decode()
        with fits.open(path) as hdus:
            data = hdus[number].data
            like = rows_of(data)[0]
        both = [floats_as_read(rows_of_text(text, like), data) for text in (ours, of_stilts)]
        same(*both, f"HDU {number}")
    print(len(TABLES))


if __name__ == "__main__":
    what, *arguments = sys.argv[1:]
    if what == "swap":
        make(arguments[0], swapped=True)
    else:
        {"make": make, "compare": compare, "stilts": stilts}[what](*arguments)
