"""Passwords in addresses, and how they are kept out of everything that is shown.

An address may be mistyped in any way, and then nothing knows that it is one: `redact` hides what stands
where a password would. Drivers and parsers repeat parts of what they were given: `hide_secrets` takes an
address and removes every part of its password from a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus, unquote, unquote_plus

from galatune.formatting import printable, shortened

__all__ = ["HIDDEN", "hide_secrets", "redact"]

HIDDEN = "***"

LONGEST = 4_096
"""Longer texts hold no address that anybody could use."""

_SCHEME = r"[A-Za-z][\w+.-]{0,30}(?:[:;]/*|//+)|//+"
_ADDRESS = re.compile(
    rf"((?:^|(?<=[\s'\"`(<=,]))\W{{0,4}}?(?:{_SCHEME})?[^:/@\s]{{0,200}}):(?!//)(.+)@", re.DOTALL
)
"""``scheme://user:password@``, with one slash or none, or without the scheme; up to the last at sign."""
_BELOW = re.compile(r"((?<=/)[A-Za-z][\w+.-]{0,30}:/+[^:/@\s]{0,200}):(.+)@", re.DOTALL)
"""The same with one slash below a folder: a mistyped address that was taken for a path."""
_ENCODED = re.compile(r"(%3A)(.+)(?=%40)", re.IGNORECASE | re.DOTALL)
"""``scheme%3A//user%3Apassword%40``: all of the address was written as a part of another."""
_NO_COLON = re.compile(r"(//[\w.%+~-]{0,200})([^\w.%+~@:*-].*)@", re.DOTALL)
"""``scheme://user password@``: something else stands between the two."""
_NO_HOST = re.compile(r"(://[^:/@?\s\[\]]*):(?!\d+(?:[/?#,.:;'\")\]}>\s]|$)|/)([^/@?\s]+)")
"""``scheme://user:password``: the host was forgotten, and the password stands where the port would."""
_USER = re.compile(r"([:;]/+|//+|[\w.+-]/(?=[^/@\s]+@[\w.-]+:\d))([^:/@\s'\"]+)@")
"""``scheme://user@`` or ``user/password@host:port``: it may be a password in the user's place."""
_NAME = r"\w*(?:pass(?:word|wd|phrase)?|pwd|token|secret|api_?key|credential)\w*"
_IN_QUERY = re.compile(rf"([?&]{_NAME}=)([^&\s]*)", re.IGNORECASE)
_SETTING = re.compile(rf"((?<![\w?&]){_NAME}(?:\s*=\s*|['\"]\s*:\s*))('[^']*'|\"[^\"]*\"|\S+)", re.IGNORECASE)
"""``password=``, in a list of settings, in the environment or in a dict."""
_PLACES = (_ADDRESS, _BELOW, _ENCODED, _NO_COLON, _NO_HOST, _IN_QUERY, _SETTING)


def redact(address: str) -> str:
    """An address without its password; a path as it is. Neither with control characters.

    >>> redact("postgresql://ada:secret@db/tests")
    'postgresql://ada:***@db/tests'
    >>> redact("postgresql:/ada:secret@db"), redact("ada:secret@db")
    ('postgresql:/ada:***@db', 'ada:***@db')
    >>> redact("runs/study.db")
    'runs/study.db'
    """
    if len(address) > LONGEST:
        return HIDDEN if re.search("[@=:]", address) else printable(address)
    address = _ADDRESS.sub(rf"\1:{HIDDEN}@", address)
    address = _BELOW.sub(rf"\1:{HIDDEN}@", address)
    address = _ENCODED.sub(rf"\1{HIDDEN}", address)
    address = _NO_COLON.sub(rf"\1:{HIDDEN}@", address)
    address = _NO_HOST.sub(rf"\1:{HIDDEN}", address)
    return printable(_SETTING.sub(rf"\1{HIDDEN}", _IN_QUERY.sub(rf"\1{HIDDEN}", address)))


def hide_secrets(text: str, *words: str) -> str:
    """A text without the passwords of addresses, for errors.

    What stands in the user's place is hidden as well, since it may be a password that was mistyped.

    Args:
        text: Says what went wrong, and may repeat what was given.
        *words: What was given: addresses or anything else.

    >>> hide_secrets("port 'se' of db is no number", "http://ada:se/cret@db")
    "port '***' of db is no number"
    """
    for secret in sorted(_parts(words), key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)
    text = re.sub(rf"\S{{{LONGEST},}}", HIDDEN, text)
    text = _SETTING.sub(rf"\1{HIDDEN}", shortened(text, LONGEST))
    text = re.sub(r"\S+", lambda word: redact(word.group()), text)
    return printable(_USER.sub(rf"\1{HIDDEN}@", text))


def _parts(words: Iterable[str]) -> set[str]:
    """Every spelling of every password in the words, and the pieces into which a parser may cut it."""
    found: set[str] = set()
    for word in words:
        for secret in _secrets(word):
            for plain in {secret, unquote(secret), unquote_plus(secret)}:
                spellings = {plain, quote(plain), quote(plain, safe=""), quote_plus(plain), printable(plain)}
                found |= {spelling for spelling in spellings if spelling}
                found |= {piece for piece in re.split(r"[\W_]+", plain) if len(piece) > 1}
    return found


def _secrets(word: str) -> set[str]:
    if len(word) > LONGEST:
        return set()
    found = {match.group(2).strip("'\"") for place in _PLACES for match in place.finditer(word)}
    return found | {match.group(2) for match in _USER.finditer(word)}
