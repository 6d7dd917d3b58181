"""Reads the binary serializations of VOTable (1.5, sections 5.3 and 5.4) where astropy (8.0) cannot:
arrays of texts. Gives what astropy would: values, and None for null.
"""

import base64
import xml.etree.ElementTree as ElementTree

import numpy as np

SPACE = "{http://www.ivoa.net/xml/VOTable/v1.3}"
TYPES = {"boolean": "S1", "unsignedByte": "u1", "short": ">i2", "int": ">i4", "long": ">i8", "float": ">f4", "double": ">f8", "char": "S1", "unicodeChar": ">u2"}
LOGICALS = {b"T": True, b"F": False, b"?": None, b"": None, b" ": None, b"1": True, b"0": False, b"t": True, b"f": False}


def read(data):
    """Names, and columns of values; arrays of texts are lists of texts."""
    root = ElementTree.fromstring(data)
    fields = root.findall(f".//{SPACE}FIELD")
    stream = root.find(f".//{SPACE}STREAM")
    has_mask = root.find(f".//{SPACE}BINARY2") is not None
    stored = base64.b64decode(stream.text or "")
    columns, at = [[] for _ in fields], 0
    while at < len(stored):
        mask = []
        if has_mask:
            size = (len(fields) + 7) // 8
            mask, at = np.unpackbits(np.frombuffer(stored, "u1", size, at)).astype(bool), at + size
        for place, field in enumerate(fields):
            value, at = cell(field, stored, at)
            columns[place].append(None if has_mask and mask[place] else value)
    return [field.get("name") for field in fields], columns


def cell(field, stored, at):
    datatype, size = field.get("datatype"), field.get("arraysize")
    dtype = np.dtype(TYPES[datatype])
    axes = (size or "1").split("x")
    count = int(np.prod([int(axis) for axis in axes if not axis.endswith("*")] or [1]))
    if axes[-1].endswith("*"):
        count, at = int(np.frombuffer(stored, ">u4", 1, at)[0]), at + 4
    array, at = np.frombuffer(stored, dtype, count, at), at + count * dtype.itemsize
    null = field.find(f"{SPACE}VALUES")
    return value(datatype, size, axes, array, null.get("null") if null is not None else None), at


def value(datatype, size, axes, array, null):
    if datatype in ("char", "unicodeChar"):
        text = array.tobytes().decode("ascii" if datatype == "char" else "utf-16-be")
        return texts(text, int(axes[0])) if len(axes) > 1 else text.split("\0")[0]
    if datatype == "boolean":
        values = [LOGICALS[one] for one in array.tolist()]
    else:
        values = [None if null is not None and str(one) == null else one for one in array.tolist()]
    return values if size else values[0]


def texts(text, width):
    """Places of one width: what begins with NUL is null, and blanks are padding."""
    parts = [text[begin : begin + width] for begin in range(0, len(text), width)]
    return [None if part.startswith("\0") else part.split("\0")[0].rstrip(" ") for part in parts]
