"""Compares the columns that the program wrote with those of the original, value by value."""

from dataclasses import dataclass
import math

import ours
import rules

# One fault gives thousands of wrong values: the first of a column say enough.
SHOWN_MAX = 3


@dataclass(frozen=True)
class Difference:
    """A difference at a place; `row` is None for what is no value."""

    column: str
    row: int | None
    wanted: str
    found: str
    kind: str


def compare(form, wanted, found, allowed):
    """The differences. Counts in `allowed` how often each rule was needed."""
    if found is None:
        return []
    names = [column.name for column in wanted], [column.name for column in found]
    if names[0] != names[1]:
        return [Difference("", None, repr(names[0]), repr(names[1]), "names")]
    differences = []
    for want, have in zip(wanted, found):
        differences += of_column(form, want, have, allowed)
    return differences


def of_column(form, want, have, allowed):
    rows = min(len(want.values), ours.PAGE_ROWS_MAX) if form == "html" else len(want.values)
    if rows != len(have.values):
        return [Difference(want.name, None, f"{rows} rows", f"{len(have.values)} rows", "rows")]
    if not same_kind(form, want.kind, have.kind):
        return [Difference(want.name, None, str(want.kind), str(have.kind), "type")]
    differences = []
    for row, (value, other) in enumerate(zip(want.values, have.values)):
        if not same(form, want.kind, value, other, allowed):
            differences.append(Difference(want.name, row, shown(value), shown(other), str(want.kind)))
            if len(differences) == SHOWN_MAX:
                break
    return differences


def shown(value):
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "..."


def same_kind(form, want, have):
    """Whether a typed format has the type; elsewhere both are the original's."""
    if want.base == "null":
        return have.base in ("null", "text")
    if want.base == "map" and have.base == "map" or want.base == have.base and want.zoned == have.zoned and want.names == have.names:
        return all(same_kind(form, one, other) for one, other in zip(want.inner, have.inner, strict=True))
    return False


def same(form, kind, want, found, allowed):
    if identical(form, kind, want, found, allowed):
        return True
    for rule in rules.RULES:
        if form in rule.formats and kind.base in rule.kinds and rule.allows(want, found):
            allowed[rule.name] += 1
            return True
    return False


def identical(form, kind, want, found, allowed):
    if want is None or found is None:
        return want is None and found is None
    if kind.base in ("float32", "float64"):
        return isinstance(found, float) and same_float(want, found)
    if kind.base == "list":
        return isinstance(found, list) and len(want) == len(found) and all(same(form, kind.inner[0], one, other, allowed) for one, other in zip(want, found))
    if kind.base == "map":
        return isinstance(found, list) and len(want) == len(found) and all(same(form, kind.inner[part], one[part], other[part], allowed) for one, other in zip(want, found) for part in (0, 1))
    if kind.base == "struct":
        return isinstance(found, dict) and list(found) == list(want) and all(same(form, inner, want[name], found[name], allowed) for name, inner in zip(kind.names, kind.inner))
    # True equals 1, and Decimal("1") too.
    return type(want) is type(found) and want == found


def same_float(want, found):
    """Bit for bit, but for the bits of NaN."""
    if math.isnan(want) or math.isnan(found):
        return math.isnan(want) and math.isnan(found)
    return want == found and math.copysign(1, want) == math.copysign(1, found)
