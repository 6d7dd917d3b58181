"""Opens CSV with a byte order mark in LibreOffice, and compares its cells with the source.

    read_spreadsheet.py ROUTE SOFFICE SOURCE

Downloads ROUTE.csv?bom=1, lets SOFFICE convert it to a flat spreadsheet, and compares each cell
with SOURCE, a Parquet file that pyarrow reads.
"""

import math
import pathlib
import subprocess
import sys
import urllib.request
import xml.etree.ElementTree as ElementTree

import pyarrow.parquet

OFFICE = "{urn:oasis:names:tc:opendocument:xmlns:office:1.0}"
TABLE = "{urn:oasis:names:tc:opendocument:xmlns:table:1.0}"
TEXT = "{urn:oasis:names:tc:opendocument:xmlns:text:1.0}"

# Separator `,`, quote `"`, UTF-8 (76), from line 1, no types of columns, language en-US, fields in
# quotes are text: what its dialog proposes for a file with a mark, but for the last one.
FILTER = "CSV:44,34,76,1,,1033,true"
# A first start makes a profile.
SECONDS = 120


def convert(soffice, file):
    folder = file.parent
    subprocess.run(
        [
            soffice,
            "--headless",
            f"-env:UserInstallation={(folder / 'profile').absolute().as_uri()}",
            f"--infilter={FILTER}",
            "--convert-to",
            "fods",
            "--outdir",
            str(folder),
            str(file),
        ],
        check=True,
        timeout=SECONDS,
        stdout=subprocess.DEVNULL,
    )
    return file.with_suffix(".fods")


def text_of(paragraph):
    """Returns the text of a paragraph, whose spaces, tabs and line breaks may be elements."""
    parts = [paragraph.text or ""]
    for child in paragraph:
        if child.tag == TEXT + "s":
            parts.append(" " * int(child.get(TEXT + "c", "1")))
        elif child.tag == TEXT + "tab":
            parts.append("\t")
        elif child.tag == TEXT + "line-break":
            parts.append("\n")
        else:
            parts.append(text_of(child))
        parts.append(child.tail or "")
    return "".join(parts)


def value_of(cell):
    kind = cell.get(OFFICE + "value-type")
    if kind is None:
        return None
    if kind == "float":
        return float(cell.get(OFFICE + "value"))
    if kind == "boolean":
        return cell.get(OFFICE + "boolean-value") == "true"
    if kind == "string":
        return "\n".join(text_of(paragraph) for paragraph in cell.findall(TEXT + "p"))
    raise ValueError(f"a cell of type {kind}: {ElementTree.tostring(cell)}")


def rows_of(file, columns):
    """Yields the rows of the first sheet, each with this number of cells."""
    sheet = next(ElementTree.parse(file).iter(TABLE + "table"))
    for row in sheet.iter(TABLE + "table-row"):
        cells = []
        for cell in row.findall(TABLE + "table-cell"):
            repeated = int(cell.get(TABLE + "number-columns-repeated", "1"))
            cells += [value_of(cell)] * min(repeated, columns - len(cells))
        cells += [None] * (columns - len(cells))
        for _ in range(int(row.get(TABLE + "number-rows-repeated", "1"))):
            yield cells
            if cells == [None] * columns:
                break


def same(found, expected):
    if isinstance(expected, float):
        return isinstance(found, float) and (found == expected or math.isnan(expected))
    return type(found) is type(expected) and found == expected


def main():
    route, soffice, source = sys.argv[1:]
    file = pathlib.Path("marked.csv")
    with urllib.request.urlopen(route + ".csv?bom=1") as response:
        file.write_bytes(response.read())
    table = pyarrow.parquet.read_table(source)
    expected = [list(table.column_names)]
    for row in table.to_pylist():
        # A cell has no integers.
        expected.append([float(v) if type(v) is int else v for v in row.values()])
    found = list(rows_of(convert(soffice, file), table.num_columns))
    assert len(found) >= len(expected), (len(found), len(expected))
    assert all(row == [None] * table.num_columns for row in found[len(expected) :]), "more rows"
    compared = 0
    for number, (ours, theirs) in enumerate(zip(found, expected)):
        for name, cell, value in zip(table.column_names, ours, theirs):
            assert same(cell, value), f"row {number}, {name}: {cell!r} is not {value!r}"
            compared += 1
    print(f"{compared} values are equal")


main()
