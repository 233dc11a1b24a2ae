"""Reads a text file of unknown encoding as pieces of `str`. Knows no canonical form, no markup.

Order: byte order mark; the declared charset (HTTP, then <meta>); UTF-8 over the whole file; charset-normalizer;
Windows-1252 with replacement. Two refinements: bytes that are valid UTF-8 with multi-byte characters are never read as
another declared charset (servers announce iso-8859-1 for everything, and nearly any UTF-8 decodes as GBK), nor is plain
ASCII as UTF-16 or UTF-32; and a file that is UTF-8 but for a few damaged places stays UTF-8 with replacement.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import charset_normalizer

PIECE_BYTES = 16 * 1024
"""Decoded at once. One character beyond ASCII, or not in NFC, takes so much text off the fast ways of what follows;
and larger strings leave glibc's arenas, one per thread, tens of megabytes of holes."""
SAMPLE_BYTES = 64 * 1024
TOLERATED = 200
"""A declared charset is believed when at most one byte in so many is damaged."""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16: its mark begins with UTF-16's
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# The WHATWG Encoding Standard reads these labels as their larger supersets.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "big5hkscs",
    "utf-16": "utf-16-le",
    "utf-32": "utf-32-le",
}
_SINGLE_BYTE = frozenset(
    [
        "cp1250",
        "cp1251",
        "cp1252",
        "cp1253",
        "cp1254",
        "cp1255",
        "cp1256",
        "cp1257",
        "cp1258",
        "cp866",
        "cp874",
        "koi8-r",
        "koi8-u",
        "iso8859-2",
        "iso8859-3",
        "iso8859-4",
        "iso8859-5",
        "iso8859-6",
        "iso8859-7",
        "iso8859-8",
        "iso8859-10",
        "iso8859-13",
        "iso8859-14",
        "iso8859-15",
        "iso8859-16",
        "mac-roman",
        "mac-cyrillic",
    ]
)
_MULTI_BYTE = frozenset(
    [
        "utf-8",
        "utf-16-le",
        "utf-16-be",
        "utf-32-le",
        "utf-32-be",
        "cp932",
        "euc_jp",
        "iso2022_jp",
        "gb18030",
        "big5hkscs",
        "cp949",
    ]
)
_GUESSED = [
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "koi8_r",
    "cp866",
    "cp932",
    "euc_jp",
    "gb18030",
    "big5",
    "cp949",
]
"""What charset-normalizer may answer: living encodings; no mac_* and no EBCDIC, which it finds in short texts."""
MOST_CHAOS = 0.35
"""Of a text that is believed, on charset-normalizer's scale: its own 0.2 refuses a Russian manual with short lines."""

_META = re.compile(rb"""<meta\s[^>]{0,500}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_XML = re.compile(rb"""\A\s*<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9_.:-]{1,40})["']""")
_NON_ASCII = re.compile(rb"[\x80-\xff]")
_PARAMETER = re.compile(r""";\s*charset\s*=\s*["']?([^\s;"']{1,40})""", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Encoding:
    """How to read a file."""

    name: str
    """Python codec."""
    skip: int = 0
    """Bytes of the byte order mark."""
    replaced: int = 0
    """Damaged places that become U+FFFD; 0 = the file decodes strictly."""


def codec(label: str | None) -> str | None:
    """The codec a charset label stands for; None for an unknown one or one that is not for documents (utf-7, idna,
    ...)."""
    try:
        name = codecs.lookup((label or "").strip()).name
    except (LookupError, ValueError):
        return None
    name = _SUPERSETS.get(name, name)
    return name if name in _SINGLE_BYTE | _MULTI_BYTE else None


def content_type_charset(content_type: str) -> str | None:
    found = _PARAMETER.search(content_type)
    return found.group(1) if found else None


def meta_charset(head: bytes) -> str | None:
    """Charset from <meta> or an XML declaration within the first bytes; utf-16 there can only mean utf-8 (WHATWG
    prescan)."""
    found = _XML.search(head) or _META.search(head)
    label = found.group(1).decode("ascii") if found else None
    return "utf-8" if (codec(label) or "").startswith(("utf-16", "utf-32")) else label


def marked(head: bytes) -> Encoding | None:
    """The encoding a byte order mark names, or UTF-16/32 without mark where the zero bytes show it."""
    for mark, name in _BOMS:
        if head.startswith(mark):
            return Encoding(name, len(mark))
    return _wide(head[:4096])


def _wide(sample: bytes) -> Encoding | None:
    """Text in mostly Latin letters has its zero bytes at fixed places; binary data does not."""
    sample = sample[: len(sample) // 4 * 4]
    if len(sample) < 8:
        return None
    share = [sample[place::4].count(0) / (len(sample) // 4) for place in range(4)]
    zero = "".join("0" if part > 0.7 else "x" if part < 0.2 else "?" for part in share)
    name = {"x000": "utf-32-le", "000x": "utf-32-be", "x0x0": "utf-16-le", "0x0x": "utf-16-be"}.get(zero)
    if name is None:
        return None
    try:
        text = sample.decode(name)
    except UnicodeDecodeError as error:
        if error.start < len(sample) - 4:
            return None
        text = sample[: error.start].decode(name)
    printable = sum(character.isprintable() or character in "\t\n\r\f" for character in text)
    return Encoding(name) if printable >= 0.95 * len(text) else None


def choose(path: Path, charset: str | None = None, markup: bool = False) -> Encoding:
    """Choose the encoding of a file. `charset` is the declared label; `markup` looks for <meta charset> too."""
    with path.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    size = path.stat().st_size
    found = marked(head)
    if found is not None:
        return Encoding(found.name, found.skip, _survey(path, found.name, found.skip).replaced)
    utf8 = _survey(path, "utf-8")
    is_utf8 = not utf8.replaced and utf8.other > 0
    # Anything else that gives ten valid multi-byte sequences for every damaged one is not a text that people write.
    nearly_utf8 = utf8.other >= 10 * utf8.replaced
    for name in (codec(charset), codec(meta_charset(head[:4096])) if markup else None):
        if name is None or is_utf8 or (name.startswith(("utf-16", "utf-32")) and not utf8.replaced):
            continue
        if name == "utf-8":
            if nearly_utf8:
                break
        elif (replaced := _survey(path, name).replaced) * TOLERATED <= size:
            return Encoding(name, replaced=replaced)
    if nearly_utf8:
        return Encoding("utf-8", replaced=utf8.replaced)
    name = _guess(utf8.sample)
    if name is not None and not _survey(path, name).replaced:
        return Encoding(name)
    return Encoding("cp1252", replaced=_survey(path, "cp1252").replaced)


def pieces(path: Path, encoding: Encoding) -> Iterator[str]:
    """The file's text, about `PIECE_BYTES` at a time; damaged places become U+FFFD. Newlines stay as they are."""
    decoder = codecs.getincrementaldecoder(encoding.name)("replace")
    with path.open("rb") as file:
        file.seek(encoding.skip)
        while data := file.read(PIECE_BYTES):
            yield decoder.decode(data)
        yield decoder.decode(b"", final=True)


@dataclass(frozen=True, slots=True)
class _Survey:
    """What decoding a whole file under one codec gave."""

    replaced: int
    other: int
    """Characters beyond ASCII that were decoded (0 or 1 where nothing was damaged)."""
    sample: bytes
    """From where the file stops being ASCII."""


def _survey(path: Path, name: str, skip: int = 0) -> _Survey:
    strict = codecs.getincrementaldecoder(name)("strict")
    sample = bytearray()
    damaged = False
    with path.open("rb") as file:
        file.seek(skip)
        while True:
            data = file.read(PIECE_BYTES)
            if len(sample) < SAMPLE_BYTES and (found := _NON_ASCII.search(data)):
                begin = max(0, found.start() - 1024)
                sample += data[begin : begin + SAMPLE_BYTES - len(sample)]
            if not damaged:
                try:
                    strict.decode(data, final=not data)
                except UnicodeDecodeError:
                    damaged = True
            if not data or (damaged and len(sample) >= SAMPLE_BYTES):
                break
    if not damaged:
        return _Survey(0, int(bool(sample)), bytes(sample))
    replaced = other = 0
    for text in pieces(path, Encoding(name, skip)):
        if not text.isascii():
            replaced += text.count("\N{REPLACEMENT CHARACTER}")
            other += len(text) - len(text.encode("ascii", "ignore"))
    return _Survey(replaced, other - replaced, bytes(sample))


def _guess(sample: bytes) -> str | None:
    found = list(charset_normalizer.from_bytes(sample, cp_isolation=list(_GUESSED), threshold=MOST_CHAOS))
    # Its own order puts cp1250 before cp1252 wherever both give letters; which language results tells them apart.
    alike = [one for one in found if one.chaos <= found[0].chaos + 0.01]
    best = max(alike, key=lambda one: one.coherence, default=None)
    return codec(best.encoding) if best else None
