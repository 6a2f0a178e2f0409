"""How values are said: text from elsewhere on one line, counts, time spans, rates and numbers.

Every folder may use this file; it uses none of them, and it knows no secrets: what hides a password is
`galatune.study.storage.secrets`.
"""

from __future__ import annotations

import io
import math
import shlex
from collections.abc import Callable, Collection
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "duration",
    "finite",
    "first_line",
    "in_shell",
    "listed",
    "number",
    "plain_text",
    "plural",
    "printable",
    "rate",
    "shortened",
    "time_left",
]


def printable(text: str) -> str:
    r"""Text from a storage, safe to print: one line, no control characters.

    >>> printable("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def shortened(text: str, most: int) -> str:
    """Text of at most so many characters; what is left out is in the middle.

    >>> shortened("a rather long text", 12), shortened("short", 12)
    ('a rat ... xt', 'short')
    """
    if len(text) <= most:
        return text
    tail = (most - 5) // 3
    return f"{text[: most - 5 - tail]} ... {text[len(text) - tail :]}"


def in_shell(word: str) -> str:
    r"""One word of a shell command that can be pasted: quoted, control characters as bash writes them.

    >>> in_shell("my study"), in_shell("it's\x1b")
    ("'my study'", "$'it\\'s\\x1b'")
    """
    if word.isprintable():
        return shlex.quote(word)
    escaped = "".join(f"\\{c}" if c in "\\'" else _octets(c) for c in word)
    return f"$'{escaped}'"


def _octets(character: str) -> str:
    if character.isprintable():
        return character
    return "".join(f"\\x{byte:02x}" for byte in character.encode("utf-8", "surrogateescape"))


def first_line(error: BaseException) -> str:
    """The first line of an error's message, without its full stop; the error's class if there is none.

    >>> first_line(ValueError("no such table: trials.")), first_line(ValueError())
    ('no such table: trials', 'ValueError')
    """
    lines = str(error).strip().splitlines()
    return printable(lines[0]).rstrip(" .:") if lines else type(error).__name__


def plural(count: int, noun: str) -> str:
    """A count with its noun.

    >>> plural(1, "trial"), plural(2, "trial")
    ('1 trial', '2 trials')
    """
    return f"{count} {noun}{'' if count == 1 else 's'}"


def listed(names: Collection[str], most: int | None = None) -> str:
    """Names of parameters or studies, printable and separated by commas.

    Args:
        names: In the order in which they are shown.
        most: Number of names shown; None shows all.

    >>> listed(["lr", "width"]), listed(["a", "b", "c"], most=2)
    ('lr, width', 'a, b and 1 more')
    """
    shown = ", ".join(printable(name) for name in islice(names, most))
    return shown if most is None or len(names) <= most else f"{shown} and {len(names) - most} more"


def duration(hours: float | None) -> str:
    """A time span in the unit that reads well; an empty string for None.

    >>> duration(15.92), duration(0.5), duration(0.001), duration(None)
    ('15.9 h', '30 min', '3.6 s', '')
    """
    if hours is None:
        return ""
    if abs(hours) >= 1:
        return f"{hours:.3g} h"
    return f"{60 * hours:.3g} min" if abs(hours) >= 1 / 60 else f"{3600 * hours:.3g} s"


def time_left(seconds: float) -> str:
    """A time span that counts down, to the second below an hour.

    >>> time_left(7260), time_left(65), time_left(5.2)
    ('2 h 01 min', '1 min 05 s', '5 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


def rate(value: float) -> str:
    """A learning rate, two significant digits.

    >>> rate(0.0123)
    '1.2e-02'
    """
    return f"{value:.1e}"


def number(value: float | None, unit: str = "") -> str:
    """Four significant digits and the unit; an empty string for None.

    >>> number(0.123456), number(27), number(None), number(1.5, "h")
    ('0.1235', '27', '', '1.5 h')
    """
    if value is None:
        return ""
    digits = str(value) if isinstance(value, int) else f"{value:.4g}"
    return f"{digits} {unit}".rstrip()


def finite(body: Any) -> Any:
    """What JSON can say: dictionaries, lists and tuples of values, with None for infinities and NaN.

    Example:
        >>> finite({"loss": float("nan"), "rates": (0.1, 1)})
        {'loss': None, 'rates': [0.1, 1]}
    """
    if isinstance(body, dict):
        return {key: finite(value) for key, value in body.items()}
    if isinstance(body, list | tuple):
        return [finite(value) for value in body]
    return None if isinstance(body, float) and not math.isfinite(body) else body


def plain_text(show: Callable[[Console], None], width: int) -> str:
    r"""What something prints to a console, as plain text.

    Args:
        show: Prints to the console that it is called with.
        width: Characters per line.

    Example:
        >>> plain_text(lambda console: console.print("two words"), 5)
        'two \nwords\n'
    """
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width, markup=False, highlight=False, emoji=False)
    with console.capture() as capture:
        show(console)
    return capture.get()
