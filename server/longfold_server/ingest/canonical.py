"""Canonical text: one form for every text, so that equal texts have equal ids and offsets. Knows no files and no
encodings.

\\r\\n and \\r become \\n; NULs, other C0 controls except \\t \\n \\f and lone surrogates become U+FFFD; the rest is
Unicode NFC. Runs of more than 30 characters that compose or reorder with their predecessors get a U+034F COMBINING
GRAPHEME JOINER after every 30th, as the Stream-Safe Text Process of UAX #15 does; no written language has such runs,
and without the bound normalisation is quadratic.

`Canonical` works in bounded memory: whatever the pieces, the result equals `canonical` of the whole text.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

LONGEST_RUN = 30
"""Stream-Safe Text Format, UAX #15 section 13."""

_JOINER = "\u034f"
_CONTROL = re.compile("[\x00-\x08\x0b\x0e-\x1f\ud800-\udfff]")
_CONTROL_BYTES = bytes([*range(0x09), 0x0B, *range(0x0E, 0x20)])
_NEWLINE = re.compile("\r\n?")
_SHOWN = re.compile("[^\\s\u00ad\u034f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufffc\ufffd]")

# Ranges that hold every character with a combining class or a canonical decomposition (checked by a test over all of
# Unicode).
_SCANNED = (
    (0x00C0, 0x3400),
    (0xA600, 0xAC00),
    (0xF900, 0xFE30),
    (0x10000, 0x12000),
    (0x16A00, 0x17000),
    (0x1B000, 0x1BD00),
    (0x1CF00, 0x1F000),
    (0x2F800, 0x2FA20),
)
_JAMO_VOWELS_AND_TAILS = range(0x1160, 0x1200)  # compose algorithmically, without a decomposition entry


@cache
def joining_characters() -> frozenset[str]:
    """Characters that may reorder or compose with what stands before them; text may be cut for NFC before any other
    one."""
    joining = {chr(code) for code in _JAMO_VOWELS_AND_TAILS}
    decomposed = []
    for first, end in _SCANNED:
        for code in range(first, end):
            character = chr(code)
            if unicodedata.combining(character):
                joining.add(character)
            full = unicodedata.normalize("NFD", character)
            if full != character:
                joining.update(full[1:])
                decomposed.append((character, full[0]))
    joining.update(character for character, head in decomposed if head in joining)
    return frozenset(joining)


@cache
def _runs() -> re.Pattern[str]:
    return re.compile(f"[{''.join(sorted(joining_characters()))}]{{{LONGEST_RUN + 1},}}")


def _has_long_run(text: str) -> bool:
    """Whether the pattern of `_runs` occurs. Any run covers a multiple of its shortest length."""
    joining = joining_characters()
    sample = text[:: LONGEST_RUN + 1]
    if sample.isascii() or joining.isdisjoint(sample):
        return False
    for place in range(0, len(text), LONGEST_RUN + 1):
        if text[place] not in joining:
            continue
        first = last = place
        while first > 0 and text[first - 1] in joining:
            first -= 1
        while last - first < LONGEST_RUN and last + 1 < len(text) and text[last + 1] in joining:
            last += 1
        if last - first >= LONGEST_RUN:
            return True
    return False


def _limit_runs(text: str) -> str:
    return _runs().sub(_joined, text) if _has_long_run(text) else text


def _joined(match: re.Match[str]) -> str:
    run = match.group()
    return _JOINER.join(run[start : start + LONGEST_RUN] for start in range(0, len(run), LONGEST_RUN))


class Canonical:
    """Streaming form of `canonical`: `feed` pieces of any size, then `finish`."""

    def __init__(self) -> None:
        self._tail = ""
        self._carriage_return = False

    def feed(self, piece: str) -> str:
        """The canonical text that is certain by now."""
        if self._carriage_return:
            piece = "\r" + piece
        self._carriage_return = piece.endswith("\r")
        if self._carriage_return:
            piece = piece[:-1]
        if not piece:
            return ""
        text = self._tail + _clean(piece)
        if text.isascii():
            # The last character may still get an accent from the next piece.
            self._tail = text[-1]
            return text[:-1]
        text = _limit_runs(text)
        joining = joining_characters()
        cut = len(text) - 1
        while cut > 0 and text[cut] in joining:
            cut -= 1
        self._tail = text[cut:]
        return unicodedata.normalize("NFC", text[:cut])

    def finish(self) -> str:
        """The rest."""
        text = self._tail + ("\n" if self._carriage_return else "")
        self._tail, self._carriage_return = "", False
        return unicodedata.normalize("NFC", _limit_runs(text))


def _clean(text: str) -> str:
    if "\r" in text:
        text = _NEWLINE.sub("\n", text)
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text) if _has_controls(text) else text


def _has_controls(text: str) -> bool:
    """Whether the pattern `_CONTROL` occurs, found in a third of the time: nearly no text has any."""
    try:
        data = text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate
        return True
    return len(data.translate(None, _CONTROL_BYTES)) < len(data)


def canonical(text: str) -> str:
    """The canonical form of a whole text."""
    return unicodedata.normalize("NFC", _limit_runs(_clean(text)))


def is_blank(text: str) -> bool:
    """Whether a text shows nothing: it has only white space, characters without a form, and U+FFFC and U+FFFD, which
    stand for what is no text."""
    return _SHOWN.search(text) is None
