"""Deep links: the URL of a document made to open at a quoted place. Knows no document's text but the quote.

Sources: PDF open parameters (RFC 8118, section 3) for `#page=`; the WICG draft "URL Fragment Text Directives" for
`#:~:text=`, which browsers without it ignore.
"""

from __future__ import annotations

import re
from urllib.parse import quote as percent

from longfold_server.ingest.detect import HTML, MARKDOWN, PDF, PLAIN
from longfold_server.ingest.index import Locator

WORDS = 5
"""Of each end of a longer quote: the whole of it would make a URL that people cannot send."""
LEAST = 12
"""Characters; a shorter text stands in too many places."""
_SHOWN = frozenset({HTML, PLAIN, MARKDOWN})
"""What a browser shows as text in which it can look for a quote."""
_MARKS = re.compile(r"^\s*(?:#{1,6} |[-*+] |\d{1,9}[.)] |> )*")
"""What canonical text puts before a heading or an item; the page itself has no such characters there."""


def deep_link(url: str | None, media_type: str, locator: Locator, quote: str) -> str | None:
    """`url` with the fragment that leads to the place; None where there is no URL, or no fragment that would."""
    if url is None or locator.file or not url.lower().startswith(("http://", "https://")):
        return None
    page = url.partition("#")[0]
    anchor = percent(locator.fragment, safe="=-._~!$'()*+,;:@/?") if media_type in (HTML, PDF) else ""
    directive = _directive(quote) if media_type in _SHOWN else ""
    fragment = f"{anchor}:~:{directive}" if directive else anchor
    return f"{page}#{fragment}" if fragment else None


def _directive(quote: str) -> str:
    """`text=START,END` or `text=WHOLE`; "" for a row of a table, whose cells are apart in the page, and for little
    text."""
    lines = [_MARKS.sub("", line).strip() for line in quote.splitlines() if line.strip()]
    if not lines or any("|" in line for line in (lines[0], lines[-1])) or sum(map(len, lines)) < LEAST:
        return ""
    first, last = lines[0].split(), lines[-1].split()
    if len(lines) == 1 and len(first) <= 2 * WORDS:
        return f"text={_term(first)}"
    return f"text={_term(first[:WORDS])},{_term(last[-WORDS:])}"


def _term(words: list[str]) -> str:
    """The draft reserves `-`, `,` and `&`; a dash is the only one that percent-encoding leaves."""
    return percent(" ".join(words), safe="").replace("-", "%2D")
