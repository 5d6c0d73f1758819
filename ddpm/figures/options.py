"""What a figure can be told, as the fields of a frozen dataclass: name, type, default and a line of help."""

import dataclasses
from typing import Any


def option(default: Any, text: str, *, least: float | None = None, most: float | None = None) -> Any:
    """A field of `Options`; the command line, its checks and the help are made from it.

    Annotate it as int, float, bool, a Literal of strings, tuple[int, ...] or tuple[float, ...].

    Args:
        default: used by the stage `figures`, too; it stands in the picture's file.
        text: one line for the help, with the unit.
        least, most: the range of a number, or of each number of a tuple; both included.
    """
    return dataclasses.field(default=default, metadata={"help": text, "least": least, "most": most})


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """Nothing but the parameters of the section `figures`."""
