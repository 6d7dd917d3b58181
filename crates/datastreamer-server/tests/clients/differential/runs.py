"""Asks the program for a case in a format, judges the answer, and counts what was found."""

from collections import Counter
import re
import urllib.parse

import compare
import ours
import rules

TIMED_OUT = ours.TIMED_OUT
# Kinds whose values a filter takes.
FILTERED = ("bool", "int", "float32", "float64", "decimal", "text", "bytes", "uuid", "date", "time", "instant")
# Names of columns that the files have and that are parameters: a filter of them needs `and=(...)`.
TAKEN = ("nested",)


class Run:
    """What a program did with all cases so far."""

    def __init__(self, program):
        self.program = program
        self.files, self.compared, self.values = Counter(), Counter(), 0
        self.differences, self.refusals, self.allowed = Counter(), Counter(), Counter()
        self.open_faults, self.problems = Counter(), []

    def form(self, what, case, form, answer=None):
        """Judges a case in a format. `answer` is what `ask` has given, if it was asked already."""
        columns, refused, output = answer or self.ask(case, form)
        for line in refused:
            self.refused(what, case, form, line, 7)
        if output.code != 0:
            self.refused(what, case, form, output.stderr.strip(), output.code)
            return None
        try:
            if columns is None:
                found = ours.read(form, output.stdout, [])
                differences = case.check(found)
            else:
                found = ours.read(form, output.stdout, columns)
                differences = compare.compare(form, columns, found, self.allowed)
        except Exception as error:
            self.problem(what, case, f"{form}: cannot be read: {type(error).__name__}", str(error))
            return None
        self.compared[form] += 1
        self.values += sum(len(column.values) for column in found)
        for one in differences:
            place = f"column {one.column!r}" + ("" if one.row is None else f", row {one.row}")
            self.problem(what, case, f"{form}: {one.kind}", f"{place}: wanted {one.wanted}, found {one.found}")
        return found

    def ask(self, case, form):
        """Runs the program; of a table with columns that the format refuses, asks for the others."""
        refused, left, is_narrowed, skips = [], case.truth, False, False
        while True:
            output = ours.run(self.program, arguments(case, form, left if is_narrowed else None, skips))
            nested = refused_nested(output)
            if nested and not skips and len(nested) < len(left or []):
                refused.append(output.stderr.strip())
                left = [one for one in left if one.name not in nested]
                skips = True
                continue
            column = refused_column(output)
            names = [one.name for one in left or []]
            if column not in names or len(names) == 1 or not all(map(is_selectable, names)):
                return left, refused, output
            refused.append(output.stderr.strip())
            left, is_narrowed = [one for one in left if one.name != column], True

    def equality(self, what, case, chance):
        """Asks for the rows that have a value, as CSV shows it: each must be found, and no other."""
        columns = [column for column in case.truth if is_selectable(column.name) and column.name not in TAKEN and column.kind.base in FILTERED and any(value is not None for value in column.values)]
        if not columns:
            return
        column = chance.choice(columns)
        shown = self.cells(case, f"?format=csv&select={column.name}", [column])
        if shown is None or not any(text for text in shown if text is not ours.ALONE):
            # Refused, as it was above.
            return
        text = chance.choice([text for text in shown if text and text is not ours.ALONE])
        wanted = [other for other in shown if other is not ours.ALONE and is_equal(column.kind, text, other)]
        found = self.cells(case, f"?format=csv&select={column.name}&{column.name}=eq.{urllib.parse.quote(text, safe='')}", [column])
        self.compared["equality"] += 1
        if found != wanted:
            self.problem(what, case, f"equality: {column.kind}", f"column {column.name!r}: {len(wanted)} rows have {text!r}, found {found if found is None else len(found)}")

    def cells(self, case, query, columns):
        """The texts of the cells of one column in CSV, or None if that was refused."""
        first, *rest = map(str, case.arguments)
        output = ours.run(self.program, [first + query, *rest])
        if output.code != 0:
            self.refusals[f"equality: {gist(output.stderr.strip())}"] += 1
            return None
        rows = ours.csv_rows(output.stdout.decode(), 1)
        return [row[0] for row in rows[1:]]

    def refused(self, what, case, form, line, code):
        self.refusals[f"{form}: {gist(line)}"] += 1
        is_clear = code > 0 and len(line.splitlines()) == 1 and "panic" not in line
        if not is_clear or rules.refusal(form, line, case.truth) is None:
            how = f"exit code {code}" if code > 0 else "no answer in time" if code == TIMED_OUT else f"signal {-code}"
            self.problem(what, case, f"{form}: refused: {gist(line)}", f"{how}: {line[:600]}")

    def problem(self, what, case, kind, detail):
        fault = rules.open_fault(f"{kind}: {detail}")
        if fault:
            self.open_faults[fault.what] += 1
            return
        self.differences[kind] += 1
        self.problems.append(f"{what}: {kind}\n  {detail} [{case.settings}]")

    def report(self, seconds):
        for title in ("files", "compared", "allowed", "refusals", "open_faults", "differences"):
            print(f"\n{title}:")
            for what, count in getattr(self, title).most_common():
                print(f"  {count:7} {what}")
        print(f"{sum(self.files.values())} files, {sum(self.compared.values())} comparisons, {self.values} values are equal but for {len(self.problems)} problems, in {seconds:.0f} s")


def is_equal(kind, text, other):
    """Whether a filter takes two texts for one value: zero has two signs, and one value."""
    if kind.base in ("float32", "float64") and other is not None:
        return text == other or float(text) == float(other)
    return text == other


def arguments(case, form, columns, skips_nested=False):
    """Behind `cat`: the format, and the columns if not all are asked for."""
    first, *rest = map(str, case.arguments)
    query = f"?format={form}" + ("&nested=skip" if skips_nested else "")
    if columns is not None:
        query += "&select=" + ",".join(column.name for column in columns)
    return [first + query, *rest]


def is_selectable(name):
    return re.fullmatch(r"[A-Za-z0-9_]+", name)


def refused_column(output):
    match = re.search(r'column "((?:[^"\\]|\\.)*)"', output.stderr)
    return match[1] if match and output.code != 0 else None


def refused_nested(output):
    """The columns that a format has no place for because they are nested."""
    match = re.search(r"has no place for the columns? (.*): (it is|they are) nested", output.stderr)
    names = re.findall(r'"((?:[^"\\]|\\.)*)" \(', match[1]) if match and output.code != 0 else []
    return [name.replace('\\"', '"') for name in names]


def gist(line):
    """A message without names, places and what is within types."""
    line = re.sub(r"(/[\w.=%+-]+)+(\?\S*)?", "PATH", line)
    line = re.sub(r'"[^"]*"|`[^`]*`', '""', line)
    line = re.sub(r"cannot hold the type (\w+).*", r"cannot hold the type \1", line)
    line = re.sub(r"(has no place for) .* nested.*", r"\1 what is nested", line)
    return re.sub(r"\b\d+\b", "N", line).removeprefix("datastreamer: ")[:160]
