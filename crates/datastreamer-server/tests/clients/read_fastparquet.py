"""Files of fastparquet, which puts zeros behind the values of each page, read by the program.

    read_fastparquet.py PROGRAM

Writes tables of all kinds of columns with each compression, reads them with PROGRAM as NDJSON, and
compares every value with the table that was written.
"""

import json
import pathlib
import subprocess
import sys

import fastparquet
import numpy as np
import pandas as pd

SECONDS = 60
ROWS = 1000

numbers = np.arange(ROWS)
TABLE = pd.DataFrame(
    {
        "i64": numbers * 7_000_000_007,
        "i32": (numbers - 500).astype("int32"),
        "f64": np.where(numbers % 7 == 0, np.nan, numbers / 3),
        "truth": numbers % 3 == 0,
        "text": [f"Véga {n}" if n % 5 else "" for n in numbers],
        "optional": pd.array([None if n % 4 == 0 else n for n in numbers], dtype="Int64"),
        # The last values are zeros, as what stands behind them.
        "zeros": np.where(numbers < ROWS // 2, 1, 0),
        "kind": pd.Categorical([f"kind {n % 3}" for n in numbers]),
    }
)


def expected():
    for row in TABLE.to_dict("records"):
        yield {name: plain(value) for name, value in row.items()}


def plain(value):
    if value is pd.NA or (isinstance(value, float) and np.isnan(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def main():
    program = sys.argv[1]
    compared = 0
    for compression in [None, "SNAPPY", "GZIP"]:
        file = pathlib.Path(f"{compression}.parquet")
        fastparquet.write(str(file), TABLE, compression=compression, row_group_offsets=300)
        said = subprocess.run(
            [program, "cat", "--quiet", file, "--format", "ndjson"],
            check=True,
            capture_output=True,
            timeout=SECONDS,
        )
        rows = [json.loads(line) for line in said.stdout.splitlines()]
        assert len(rows) == ROWS, len(rows)
        for number, (row, wanted) in enumerate(zip(rows, expected())):
            assert row == wanted, f"{compression}, row {number}: {row} is not {wanted}"
            compared += len(wanted)
    print(f"{compared} values are equal")


main()
