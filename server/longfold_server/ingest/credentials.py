"""The headers with which a caller's documents are asked for, each only at the origin it was given for. Knows no
network; nothing here shows a value."""

from __future__ import annotations

import re
from collections.abc import Mapping

from longfold_server.codes import Code
from longfold_server.errors import DocumentError
from longfold_server.ingest.location import Location, locate

_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}\Z")
_VALUE = re.compile(r"[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff\t]*[\x21-\x7e\x80-\xff])?\Z")
_LONGEST_VALUE = 8_192

_OURS = frozenset(
    {
        "accept-encoding", "connection", "content-length", "date", "expect", "forwarded", "host", "if-match",
        "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "range", "te", "trailer",
        "transfer-encoding", "upgrade", "user-agent", "via",
    }
)  # fmt: skip
"""Headers that say how a document is fetched or by whom: not a caller's to set."""
_OUR_PREFIXES = ("content-", "proxy-", "sec-", "x-forwarded-")


class Credentials:
    """Headers by origin (`https://host` or `https://host:port`).

    Raises `DocumentError` (`document_invalid`), whose detail names origins and headers and never a value.
    """

    def __init__(self, given: Mapping[str, Mapping[str, str]] | None = None) -> None:
        self._headers: dict[tuple[str, str, int], dict[str, str]] = {}
        for origin, headers in (given or {}).items():
            location = locate(origin)
            if location.url.raw_path != b"/" or "#" in origin:
                raise _invalid("credentials are given for an origin, as https://host or https://host:port")
            for name, value in headers.items():
                _check(name, value)
            self._headers.setdefault(location.origin, {}).update(headers)

    def of(self, location: Location) -> dict[str, str]:
        """The headers for one request; none at any other origin, be it another port or scheme of the same host."""
        return dict(self._headers.get(location.origin, {}))

    def __bool__(self) -> bool:
        return any(self._headers.values())

    def __repr__(self) -> str:
        return f"Credentials({len(self._headers)} origins)"


def _check(name: str, value: str) -> None:
    lower = name.lower()
    if not _NAME.match(name) or lower in _OURS or lower.startswith(_OUR_PREFIXES):
        shown = name if _NAME.match(name) else "a header with characters that no name has"
        raise _invalid(f"a credential cannot be sent as {shown}; use Authorization, Cookie or a header of the server's")
    if len(value) > _LONGEST_VALUE or not _VALUE.match(value):
        raise _invalid(
            f"the credential {name} is empty, longer than {_LONGEST_VALUE:,} characters, or holds characters that no "
            "header may have"
        )


def _invalid(why: str) -> DocumentError:
    return DocumentError(Code.DOCUMENT_INVALID, why)


NOBODY = Credentials()
