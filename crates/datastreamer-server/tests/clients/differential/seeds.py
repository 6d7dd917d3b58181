"""Writes small random files as seeds for the fuzz targets of the readers.

usage: python seeds.py FOLDER COUNT

COUNT files of each kind, as FOLDER/read_parquet/0, ...: `cargo +nightly fuzz run read_parquet FOLDER/read_parquet`.
"""

import pathlib
import random
import sys
import tempfile
import warnings

import make_arrow
import make_fits
import make_parquet
import make_text

# libFuzzer changes a few bytes at a time: in a large file they seldom matter.
SEED_BYTES_MAX = 16 * 1024
MAKERS = {
    "read_parquet": [maker for maker, _ in make_parquet.MAKERS],
    "read_arrow": [maker for maker, _ in make_arrow.MAKERS],
    "read_fits": [maker for maker, _ in make_fits.MAKERS],
    "read_csv": [make_text.csv_by_python, make_text.csv_by_pandas],
    "read_ndjson": [make_text.ndjson_by_python],
}


def main(folder, count):
    warnings.simplefilter("ignore")
    for target, makers in MAKERS.items():
        seeds = pathlib.Path(folder) / target
        seeds.mkdir(parents=True, exist_ok=True)
        for number in range(int(count)):
            chance = random.Random(f"{target}/{number}")
            with tempfile.TemporaryDirectory() as scratch:
                data = chance.choice(makers)(chance, pathlib.Path(scratch)).arguments[0].read_bytes()
            # The targets' suffixes are those of plain text.
            if len(data) <= SEED_BYTES_MAX and data[:2] != b"\x1f\x8b":
                (seeds / str(number)).write_bytes(data)


main(*sys.argv[1:])
