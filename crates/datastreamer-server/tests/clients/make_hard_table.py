"""Writes a Parquet FILE of what formats and readers trip over: extreme numbers, nulls, values that
are no numbers, and texts with every mark that a format gives a meaning to."""

import datetime
import sys

import pyarrow as pa
import pyarrow.parquet as pq

TEXTS = ["", "in  between", "a,b", 'say "hi"', "<td>&amp;</td>", "]]>", "O'Neil", "NaN", "null", "NA", "-1", None]
FLOATS = [0.0, -0.0, 2.2250738585072014e-308, 1.7976931348623157e308, -1 / 3, 1e23, float("nan"), None]
INFINITE = FLOATS + [float("inf"), float("-inf")]
INTEGERS = [0, 1, -1, 2**63 - 1, -(2**63) + 1, 2**53 + 1, None]
SHORTS = [0, 32767, -32767, None]
TIMES = [datetime.datetime(1970, 1, 1), datetime.datetime(2026, 11, 25, 23, 59, 59, 999999), None]
TRUTHS = [True, False, None]
ROWS = 1000


def repeated(values, kind):
    return pa.array([values[row % len(values)] for row in range(ROWS)], kind)


columns = {
    "row": pa.array(range(ROWS), pa.int64()),
    "long": repeated(INTEGERS, pa.int64()),
    "short": repeated(SHORTS, pa.int16()),
    "double": repeated(FLOATS, pa.float64()),
    "infinite": repeated(INFINITE, pa.float64()),
    "float": repeated([0.1, -3.4028234663852886e38, 1e-45, None], pa.float32()),
    "truth": repeated(TRUTHS, pa.bool_()),
    "time": repeated(TIMES, pa.timestamp("us")),
    "ascii": repeated(TEXTS, pa.string()),
    "unicode": repeated(["Ångström", "星", "αβγ", None], pa.string()),
}
pq.write_table(pa.table(columns), sys.argv[1])
