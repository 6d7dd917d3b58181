"""Plants differences of each kind, and ends with 1 if one of them is not found.

usage: python selftest.py PROGRAM

First in the comparer: pairs of values that differ and must not pass, and pairs that a rule allows in
some formats and in no other. Then in whole runs: programs that alter what the real one writes.
"""

from collections import Counter
from decimal import Decimal
import pathlib
import stat
import subprocess
import sys
import tempfile

import pyarrow as pa

import compare
import kinds
import ours
import rules
from case import Case
from kinds import Kind
from runs import Run

NAN = float("nan")
LIST, FLOATS = Kind("list", inner=(Kind("int"),)), Kind("list", inner=(Kind("float64"),))
STRUCT = Kind("struct", inner=(Kind("int"),), names=("a",))
MAP = Kind("map", inner=(Kind("text"), Kind("int")))

# Differ in every format.
DIFFERENT = [
    (Kind("int"), 1, 2),
    (Kind("int"), 0, None),
    (Kind("int"), None, 0),
    (Kind("int"), None, -(2**63)),
    (Kind("int"), 1, True),
    (Kind("int"), 2**53 + 1, 2**53),
    (Kind("int"), 1, 1.0),
    (Kind("float64"), 1.0, 1.0000000000000002),
    (Kind("float64"), 0.0, -0.0),
    (Kind("float64"), -0.0, 0.0),
    (Kind("float64"), NAN, 1.0),
    (Kind("float64"), 1.0, NAN),
    (Kind("float64"), None, 0.0),
    (Kind("float64"), float("inf"), 1.7976931348623157e308),
    (Kind("float64"), float("inf"), None),
    (Kind("float32"), 0.10000000149011612, 0.1),
    (Kind("bool"), True, False),
    (Kind("bool"), False, None),
    (Kind("decimal"), Decimal("1.50"), Decimal("1.51")),
    (Kind("decimal"), Decimal("1.5"), 1.5),
    (Kind("text"), "a", "b"),
    (Kind("text"), "a", " a"),
    (Kind("text"), "a", ""),
    (Kind("text"), "", "NULL"),
    (Kind("text"), "a\nb", "a\\nb"),
    (Kind("text"), "é", "e\u0301"),
    (Kind("bytes"), b"\0", b"\1"),
    (Kind("bytes"), b"ab", "ab"),
    (Kind("uuid"), "00112233-4455-6677-8899-aabbccddeeff", ours.Malformed("00112233445566778899aabbccddeeff")),
    (Kind("date"), 0, 1),
    (Kind("time"), 1, 2),
    (Kind("instant"), 0, 1),
    (Kind("instant", zoned=True), 0, 3600 * 10**9),
    (Kind("duration"), 1, -1),
    (Kind("interval"), (1, 0, 0), (0, 30, 0)),
    (LIST, [1], [1, 2]),
    (LIST, [1, 2], [2, 1]),
    (LIST, [1], None),
    (LIST, [None], [0]),
    (FLOATS, [0.0], [-0.0]),
    (STRUCT, {"a": 1}, {"a": 2}),
    (STRUCT, {"a": None}, None),
    (MAP, [["k", 1]], [["k", 2]]),
    (MAP, [["k", 1]], []),
]

# Differ but in the formats that cannot tell them apart.
ALLOWED = [
    (Kind("text"), "", None, {"tsv", "fits", *rules.VOTABLES}),
    (Kind("text"), None, "", {"tsv", "fits", *rules.VOTABLES}),
    (Kind("text"), "a ", "a", {"fits"}),
    (Kind("float64"), NAN, None, {"fits", *rules.VOTABLES, *rules.JSONS}),
    (Kind("float64"), None, NAN, {"fits", *rules.VOTABLES, *rules.JSONS}),
    (FLOATS, [NAN], [ours.NOTHING], {"csv", "tsv", "html", "text", *rules.VOTABLES}),
    (LIST, [], None, {"fits", *rules.VOTABLES}),
    (LIST, [None, None], None, {"fits", *rules.VOTABLES}),
    (Kind("bytes"), b"", None, {"tsv", "fits", *rules.VOTABLES}),
    (Kind("text"), "\x01", "\ufffd", {"html", *rules.VOTABLES}),
]

# What a program may do to a table of rows, and must not do unseen.
ALTERATIONS = {
    "a digit": "output.replace(b'4711', b'4712')",
    "a row is missing": "output.replace(b'4711,b,2.5\\r\\n', b'')",
    "a row twice": "output.replace(b'4711,b,2.5\\r\\n', b'4711,b,2.5\\r\\n' * 2)",
    "two rows are swapped": "output.replace(b'1,a,1.5\\r\\n4711,b,2.5', b'4711,b,2.5\\r\\n1,a,1.5')",
    "a null is a zero": "output.replace(b',,', b',0,')",
    "NaN is a number": "output.replace(b'NaN', b'0.0')",
    "the sign of zero": "output.replace(b'-0.0', b'0.0')",
    "a letter": "output.replace(b',b,', b',B,')",
    "a name": "output.replace(b'name', b'Name')",
    "two names are swapped": "output.replace(b'n,name', b'name,n')",
    "the end": "output[:-1]",
    "nothing": "b''",
}
FAILURES = {
    "a panic": "sys.stderr.write(\"thread 'main' panicked at x.rs\\n\"); sys.exit(101)",
    "a signal": "os.kill(os.getpid(), 6)",
    "a refusal without a reason": "sys.stderr.write('datastreamer: no\\n'); sys.exit(3)",
    "a refusal of several lines": "sys.stderr.write('datastreamer: JSON has no infinity\\nand more\\n'); sys.exit(3)",
    "a refusal of infinities that are not there": "sys.stderr.write('datastreamer: row 1, column \"f\": JSON has no infinity\\n'); sys.exit(7)",
    "silence": "time.sleep(600)",
}


def passes(form, kind, want, found):
    return compare.same(form, kind, want, found, Counter())


def planted_values():
    for kind, want, found in DIFFERENT:
        for form in ours.FORMATS:
            if passes(form, kind, want, found):
                yield f"{form} takes {found!r} for {want!r} ({kind})"
    for kind, want, found, formats in ALLOWED:
        for form in ours.FORMATS:
            if passes(form, kind, want, found) != (form in formats):
                yield f"{form}: {found!r} for {want!r} ({kind}): {'refused' if form in formats else 'allowed'}"
    for form in ours.FORMATS:
        for kind, want, found in DIFFERENT:
            if not passes(form, kind, want, want) and want is not None and not isinstance(want, bool):
                yield f"{form} does not take {want!r} for itself ({kind})"


def planted_columns():
    column = kinds.Column("c", Kind("int"), [1, 2])
    for what, other in [
        ("another name", kinds.Column("d", Kind("int"), [1, 2])),
        ("a row less", kinds.Column("c", Kind("int"), [1])),
        ("a row more", kinds.Column("c", Kind("int"), [1, 2, 2])),
        ("another type", kinds.Column("c", Kind("text"), [1, 2])),
    ]:
        if not compare.compare("arrow", [column], [other], Counter()):
            yield f"{what} is not found"
    if not compare.compare("arrow", [column], [], Counter()) or not compare.compare("arrow", [column], [column, column], Counter()):
        yield "a column that is missing or too many is not found"
    zoned = kinds.Column("c", Kind("instant", zoned=True), [1])
    if not compare.compare("arrow", [zoned], [kinds.Column("c", Kind("instant"), [1])], Counter()):
        yield "a zone that is missing is not found"


def planted_files(program):
    """Whole runs: a fixed table, asked of programs that alter what the real one writes."""
    table = pa.table({"n": [1, 4711, None], "name": ["a", "b", None], "f": [1.5, 2.5, NAN]})
    table = pa.concat_tables([table, pa.table({"n": pa.array([None], pa.int64()), "name": ["d"], "f": [-0.0]})])
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "table.arrow"
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
        truth = kinds.from_table(table)
        honest = judge(program, path, truth, "csv")
        if honest:
            yield f"what the program writes does not pass: {honest}"
        for what, alteration in ALTERATIONS.items():
            fake = liar(folder, f"output = subprocess.run([{program!r}, *sys.argv[1:]], stdout=subprocess.PIPE, check=True).stdout\nsys.stdout.buffer.write({alteration})")
            if not judge(fake, path, truth, "csv"):
                yield f"{what}: not found"
        for what, end in FAILURES.items():
            if not judge(liar(folder, end), path, truth, "json"):
                yield f"{what}: not found"


def liar(folder, body):
    path = pathlib.Path(folder) / "liar"
    path.write_text(f"#!{sys.executable}\nimport os, subprocess, sys, time\n{body}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def judge(program, path, truth, form):
    """What a run of one file in one format complains of."""
    run = Run(program)
    run.form("self-test", Case([path], truth), form)
    return run.problems


def main():
    ours.TIME_LIMIT_SECONDS = 5
    missed = [*planted_values(), *planted_columns(), *planted_files(sys.argv[1])]
    for one in missed:
        print(one)
    planted = len(DIFFERENT) * len(ours.FORMATS) + len(ALLOWED) * len(ours.FORMATS) + len(ALTERATIONS) + len(FAILURES)
    print(f"{planted} planted, {len(missed)} missed")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
