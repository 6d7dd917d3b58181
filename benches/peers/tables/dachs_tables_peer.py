#!/usr/bin/python3
"""DaCHS's writers (gavo.formats) as a peer.

usage: /usr/bin/python3 dachs_tables_peer.py votable|votable-binary2|fits|csv|tsv|json IN.fits ROWS

Writes the first ROWS rows to its stdout: DaCHS holds a table as a dict a row. Needs Debian's
python3-gavo and python3-astropy; nothing of them is stubbed or patched."""

import os
import sys
import tempfile
import warnings

warnings.simplefilter("ignore")

from astropy.io import fits  # noqa: E402
from gavo import base, formats, rsc, rscdef  # noqa: E402
from gavo.formats import csvtable, fitstable, jsontable, texttable, votable  # noqa: E402, F401

# Where the FITS writer makes its file first; DaCHS's own folder exists only on a server of it.
base.setConfig("tempDir", tempfile.gettempdir())

NAMES = {"votable": "votabletd", "votable-binary2": "votableb2"}

TYPES = {"K": "bigint", "D": "double precision", "E": "real", "A": "text"}


def definition(columns):
    text = "".join(
        f'<column name="{column.name}" type="{TYPES[column.format[-1]]}"/>' for column in columns
    )
    return base.parseFromString(rscdef.TableDef, f'<table id="stars">{text}</table>')


# A null text is empty in the FITS table, a null float NaN.
def values(column):
    plain = column.tolist()
    if isinstance(plain[0], str):
        return [value or None for value in plain]
    return [None if value != value else value for value in plain]


kind, source, rows = sys.argv[1], sys.argv[2], int(sys.argv[3])
with fits.open(source, memmap=True) as hdus:
    part = hdus[1].data[:rows]
    names = hdus[1].columns.names
    table = rsc.TableForDef(
        definition(hdus[1].columns),
        rows=[
            dict(zip(names, row)) for row in zip(*(values(part[name]) for name in names))
        ],
    )
with os.fdopen(1, "wb", closefd=False) as out:
    formats.formatData(NAMES.get(kind, kind), table, out, acquireSamples=False)
