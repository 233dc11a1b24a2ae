"""Reads the URL of a document: what may be asked for at all, and how a URL is named to people. Knows no network.

Hosts follow the WHATWG URL standard: IDNA (UTS 46) for names; a host whose last label is a number is an IPv4 address in
any of its spellings (127.1, 2130706433, 0x7f.1, 0177.0.0.1).
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote, urljoin, urlsplit

import httpx
import idna

from longfold_server.codes import Code
from longfold_server.errors import DocumentError

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL = 8_192
"""Characters; the longest URL that common servers accept."""

_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\\ud800-\udfff]")
_NUMBER = re.compile(r"(?:0[xX][0-9a-fA-F]*|[0-9]+)\Z")
_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)\Z")


@dataclass(frozen=True, slots=True)
class Location:
    """A URL that may be asked for, once its addresses have been checked."""

    url: httpx.URL
    """ASCII host without trailing dot; no userinfo, no fragment."""
    port: int

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.url.scheme, self.url.host, self.port

    @property
    def display(self) -> str:
        """The URL without query string, for messages."""
        return display(str(self.url))


def display(url: str) -> str:
    """A URL for people: no credentials, query string, fragment or control characters; at most 200 characters."""
    bare = re.split(r"[?#]", url, maxsplit=1)[0]
    scheme, separator, rest = bare.partition("//")
    authority, slash, path = rest.partition("/")
    authority = authority.rpartition("@")[2]
    text = re.sub(
        r"[^\x20-\x7e\u00a1-\ud7ff\uf900-\uffef]",
        "\N{REPLACEMENT CHARACTER}",
        scheme + separator + authority + slash + path,
    )
    return text if len(text) <= 200 else text[:199] + "…"


def scheme_of(url: str) -> str:
    """The scheme in lower case, "" without one; whether the rest is a usable URL is another question."""
    scheme, separator, _ = url.strip(" \t\r\n").partition("://")
    return scheme.lower() if separator and scheme.isascii() and scheme.isalnum() else ""


def name_of(url: str) -> str:
    """A document's name by its URL: the last segment of the path, decoded; the host or bucket where there is none."""
    host, _, path = re.split(r"[?#]", url.strip(" \t\r\n"), maxsplit=1)[0].partition("://")[2].partition("/")
    return unquote(path.rstrip("/").rpartition("/")[2]) or re.sub(r":\d*\Z", "", host.rpartition("@")[2])


def locate(url: str, base: Location | None = None) -> Location:
    """Check and normalise a URL; `base` resolves a redirect's relative target.

    Raises `DocumentError`: `document_invalid` (not a usable URL) or `document_blocked` (scheme or credentials).
    """
    url = url.strip(" \t\r\n")
    if len(url) > MAX_URL:
        raise _invalid(f"its URL is longer than {MAX_URL} characters")
    if _FORBIDDEN.search(url):
        raise _invalid("its URL holds spaces, control characters or backslashes; percent-encode them")
    try:
        parts = urlsplit(urljoin(str(base.url), url) if base else url)
        port = parts.port
    except ValueError:
        raise _invalid("its URL cannot be parsed") from None
    if parts.scheme not in DEFAULT_PORTS:
        raise DocumentError(
            Code.DOCUMENT_BLOCKED, "only http:// and https:// URLs are fetched; upload the file instead"
        )
    if "@" in parts.netloc:
        raise DocumentError(
            Code.DOCUMENT_BLOCKED, "a URL with a user name or password is not fetched; download the file and upload it"
        )
    if port == 0:
        raise _invalid("port 0 does not exist")
    port = port or DEFAULT_PORTS[parts.scheme]
    host = ascii_host(parts.hostname or "")
    authority = f"[{host}]" if ":" in host else host
    if port != DEFAULT_PORTS[parts.scheme]:
        authority += f":{port}"
    query = f"?{parts.query}" if parts.query else ""
    try:
        return Location(httpx.URL(f"{parts.scheme}://{authority}{parts.path or '/'}{query}"), port)
    except httpx.InvalidURL:
        raise _invalid("its URL cannot be parsed") from None


def ascii_host(host: str) -> str:
    """The host to look up: a dotted IPv4 address, an IPv6 address without brackets, or an ASCII name."""
    if not host:
        raise _invalid("its URL has no host")
    if ":" in host:
        try:
            address = ipaddress.IPv6Address(host)
        except ValueError:
            raise _invalid("its URL holds a malformed IPv6 address") from None
        if address.scope_id is not None:
            raise DocumentError(
                Code.DOCUMENT_BLOCKED, "an IPv6 address with a zone is only valid on one machine and is not fetched"
            )
        return str(address)
    if "%" in host:
        raise _invalid("its URL has a percent-encoded host; write the name itself")
    try:
        name = host if host.isascii() else idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError):
        raise _invalid("its URL has a host name that is not valid (IDNA)") from None
    name = name.removesuffix(".").lower()
    labels = name.split(".")
    if _NUMBER.match(labels[-1]):
        return _ipv4(labels)
    if len(name) > 253 or not all(_NAME.match(label) for label in labels):
        raise _invalid("its URL has a host name that is not valid")
    return name


def _ipv4(labels: list[str]) -> str:
    """WHATWG "IPv4 parser": one to four numbers, each decimal, octal (0...) or hexadecimal (0x...); the last one
    fills the rest."""
    bad = _invalid("its URL holds a malformed IPv4 address")
    if len(labels) > 4 or not all(_NUMBER.match(label) for label in labels):
        raise bad
    numbers = []
    for label in labels:
        try:
            if label[:2] in ("0x", "0X"):
                numbers.append(int(label[2:] or "0", 16))
            else:
                numbers.append(int(label, 8 if len(label) > 1 and label[0] == "0" else 10))
        except ValueError:
            raise bad from None
    *leading, last = numbers
    if any(number > 255 for number in leading) or last >= 256 ** (4 - len(leading)):
        raise bad
    value = last + sum(number << (8 * (3 - place)) for place, number in enumerate(leading))
    return str(ipaddress.IPv4Address(value))


def _invalid(why: str) -> DocumentError:
    return DocumentError(Code.DOCUMENT_INVALID, why)
