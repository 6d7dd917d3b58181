"""A case: what the program is asked for, and what the original holds."""

from dataclasses import dataclass
from typing import Callable


@dataclass
class Case:
    """`arguments` stand behind `cat`: a path or a table's name, and what else is needed.

    `truth` are the columns of the original. Where the program chooses the types, it is None, and
    `check` gives the differences of the columns that it has found.
    """

    arguments: list
    truth: list | None
    settings: str = ""
    check: Callable | None = None
