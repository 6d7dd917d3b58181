"""What may differ, and what may be refused: each with its reason. Nothing else may."""

from dataclasses import dataclass
import math
import re
from typing import Callable

import ours

BINARY_TYPES = ("arrow", "arrow-file", "parquet")
VOTABLES = ("votable", "votable-binary", "votable-binary2")
JSONS = ("json", "ndjson")


@dataclass(frozen=True)
class Rule:
    """A difference that a format makes necessary."""

    name: str
    formats: tuple
    kinds: tuple
    allows: Callable  # (wanted, found) -> bool
    reason: str


BASES = ("null", "bool", "int", "float32", "float64", "decimal", "text", "bytes", "uuid", "date", "time", "instant", "duration", "interval")
NESTED = ("list", "struct", "map")


def is_nan(value):
    return isinstance(value, float) and math.isnan(value)


def is_nothing(values):
    return isinstance(values, list) and all(value in (None, "") or is_nan(value) for value in values)


RULES = [
    Rule("empty text is null", ("tsv", *VOTABLES, "fits"), ("text",), lambda want, found: want in (None, "") and found in (None, ""), "neither TSV nor VOTable nor FITS tells an empty text from none"),
    Rule("empty UUID is null", VOTABLES + ("fits",), ("uuid",), lambda want, found: want is None and isinstance(found, ours.Malformed) and found.text == "", "an array of texts has no null of its own there"),
    Rule("empty list is null", VOTABLES + ("fits",), ("list", "bytes"), lambda want, found: not want and not found, "arrays of no elements stand for null there"),
    Rule("array of no bytes is null", VOTABLES, ("list",), lambda want, found: want in (None, [b""]) and (not found or found == [b""]), "an array of one element is its element, and no bytes stand for null there"),
    Rule("array of nulls is null", VOTABLES + ("fits",), ("list",), lambda want, found: (is_nothing(want) and not found) or (want is None and is_nothing(found)), "an array has no null of its own there: its elements are null"),
    Rule("NaN is null", JSONS + VOTABLES + ("fits",), ("float32", "float64"), lambda want, found: (want is None or is_nan(want)) and (found is None or is_nan(found)), "JSON has no NaN; VOTable and FITS have no other null of a float"),
    Rule("empty bytes are null", ("tsv",), ("bytes",), lambda want, found: want in (None, b"") and found in (None, b""), "TSV has no empty field other than null"),
    Rule("blanks at the end", ("fits",), ("text",), lambda want, found: want is not None and found is not None and want.rstrip(" ") == found.rstrip(" "), "FITS pads texts with blanks"),
    Rule("one column", ("csv",), BASES + NESTED, lambda want, found: want in (None, "", b"") and found is ours.ALONE, "null and an empty text both have quotes there, as readers skip blank lines"),
    Rule("only nulls", ("arrow", "arrow-file", "parquet", *VOTABLES, "fits"), ("null",), lambda want, found: want is None and found in (None, ""), "a column of nothing but nulls is text"),
    Rule("short texts", ("text",), ("text",), lambda want, found: isinstance(found, ours.Plain) and found.text == plain(want) or (found is None and plain(want) == "-"), "text is for people: blanks around values are padding, - is null"),
    Rule("moved rows", ("text",), BASES + NESTED, lambda want, found: found is ours.MOVED, "a value that is wider than its column moves the rest of its row"),
    Rule("NaN within is null", ("csv", "tsv", "html", "text", *VOTABLES), ("float32", "float64"), lambda want, found: found is ours.NOTHING and (want is None or is_nan(want)), "JSON has no NaN, and shows it to people only"),
    Rule("control characters", ("html",), ("text",), lambda want, found: isinstance(want, str) and isinstance(found, str) and re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]", "\ufffd", want) == found, "HTML cannot hold them"),
    Rule("XML's characters", VOTABLES, ("text",), lambda want, found: isinstance(want, str) and isinstance(found, str) and re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "\ufffd", want) == found, "XML 1.0 cannot hold them"),
]


def plain(value):
    """A text as aligned columns show it."""
    text = "-" if value is None else value
    shown = []
    for character in text:
        simple = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
        is_control = ord(character) < 32 or 127 <= ord(character) < 160
        shown.append(simple or (f"\\u{{{ord(character):x}}}" if is_control else character))
    return "".join(shown).strip(" ")


@dataclass(frozen=True)
class Refusal:
    """A refusal that is right: what the line says, of which formats, and why. `of` says of which
    values, where the line names a row and a column."""

    says: str
    formats: tuple  # () for all
    reason: str
    of: Callable = None


def anywhere(is_so):
    """Says whether a value, or one within it, is so."""

    def holds(value):
        if isinstance(value, (list, tuple)):
            return any(map(holds, value))
        return any(map(holds, value.values())) if isinstance(value, dict) else is_so(value)

    return holds


is_infinite = anywhere(lambda value: isinstance(value, float) and math.isinf(value))
is_not_printable = anywhere(lambda value: isinstance(value, str) and re.search(r"[^ -~]", value) is not None)
is_null = anywhere(lambda value: value is None)
is_a_magic_null = anywhere(lambda value: value in (255, -(2**15), -(2**31), -(2**63)))
is_long = anywhere(lambda value: isinstance(value, int) and value >= 2**63)

REFUSALS = [
    Refusal(r'Parquet cannot hold (runs of|the type (.*in seconds|date in milliseconds|decimal\(\d+, -|interval|duration))', ("parquet",), "Parquet has neither seconds nor intervals of months, and what is within lists and structs is not cast"),
    Refusal(r"the format fits has no place for the columns? .* nested", ("fits",), "FITS has arrays of numbers, booleans and texts only"),
    Refusal(r"FITS holds ASCII names only", ("fits",), "FITS 4.0, 7.3.2"),
    Refusal(r"an Arrow file cannot hold the type (struct|map|list of .*) with a dictionary within, which may change", ("arrow-file",), "an Arrow file has one dictionary only, and only a column's becomes its values"),
    Refusal(r"its INT96 times fit neither 64-bit nanoseconds nor microseconds", (), "a file's times of 96 bits have one unit: years far from 1970 beside nanoseconds have none"),
    Refusal(r"('min_delta'|first value) too large|Invalid delta bit width", (), "DuckDB (2.0) writes 32-bit integers, and their differences, that need more bits: pyarrow refuses them as well"),
    Refusal(r"JSON has no infinity", JSONS + VOTABLES + ("csv", "tsv"), "RFC 8259, 6", is_infinite),
    Refusal(r"FITS holds printable ASCII only", ("fits",), "FITS 4.0, 3.2", is_not_printable),
    Refusal(r"a list's element is null, and no value stands for it", VOTABLES + ("fits",), "arrays have no mask", is_null),
    Refusal(r"a list of booleans has a null, which programs read as false", VOTABLES + ("fits",), "STILTS (and astropy in FITS) reads it as false", is_null),
    Refusal(r"the value is the one that stands for null", ("votable-binary",), "BINARY has nulls by value only", is_a_magic_null),
    Refusal(r"the value is null, and none stands for it", ("votable-binary",), "BINARY has no null of a fixed array", is_null),
    Refusal(r"with TZERO \(\d+\) does not fit 64 bits", (), "no integer of 64 bits holds it", is_long),
    Refusal(r"the list's element is too large for long", VOTABLES, "VOTable has no unsigned integers of 64 bits", is_long),
]


def refusal(form, line, truth):
    """The refusal that a line is, or None. `truth` are the columns that were asked for."""
    for one in REFUSALS:
        if (not one.formats or form in one.formats) and re.search(one.says, line) and (one.of is None or is_of(one, line, truth)):
            return one
    return None


def is_of(refusal, line, truth):
    place = re.search(r'row (\d+), column "((?:[^"\\]|\\.)*)"', line)
    if not place:
        return False
    row = int(place[1]) - 1  # errors count rows from 1
    values = [column.values for column in truth or [] if column.name == place[2].replace('\\"', '"')]
    return any(0 <= row < len(column) and refusal.of(column[row]) for column in values)


@dataclass(frozen=True)
class OpenFault:
    """A fault that is known and not mended: counted and listed, and no failure. Delete it with the fault."""

    says: str
    what: str


OPEN_FAULTS = [
    OpenFault(r"equality: decimal", "values of decimals with a negative scale in a filter"),
]


def open_fault(problem):
    """The open fault that a problem is, or None."""
    return next((one for one in OPEN_FAULTS if re.search(one.says, problem)), None)
