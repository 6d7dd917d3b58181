#!/usr/bin/env python3
"""The same table as FITS, for peers that cannot read Parquet (needs numpy, pyarrow, astropy).

usage: parquet_to_fits.py IN.parquet OUT.fits

Strings and times become text (nA, 26A), padded with NUL bytes; a null string is all NUL, a null
float is NaN: a binary table knows no other (FITS Standard 4.0, section 7.3.3)."""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from astropy.io import fits


def column(array):
    if pa.types.is_timestamp(array.type):
        array = pc.strftime(array, format="%Y-%m-%dT%H:%M:%S")
    if pa.types.is_string(array.type):
        return np.array(array.fill_null("").to_pylist(), dtype="S")
    return array.to_numpy()


table = pq.read_table(sys.argv[1])
columns = [column(array) for array in table.columns]
kinds = [(name, values.dtype) for name, values in zip(table.column_names, columns)]
rows = np.empty(table.num_rows, dtype=kinds)
for name, values in zip(table.column_names, columns):
    rows[name] = values
fits.BinTableHDU(rows, name="STARS").writeto(sys.argv[2], overwrite=True)
