"""Deep links: the fragment each kind of document gets, and that it holds what the page says."""

from __future__ import annotations

from urllib.parse import unquote

import pytest

from longfold_server.answering.links import deep_link
from longfold_server.ingest.detect import DOCX, HTML, MARKDOWN, PDF, PLAIN, ZIP
from longfold_server.ingest.index import Locator

PAGE = "https://example.com/a?b=c"
QUOTE = "The bridge was finished in 1871."


@pytest.mark.parametrize(
    ("media_type", "locator", "expected"),
    [
        (PDF, Locator("p. 12", "page=12"), f"{PAGE}#page=12"),
        (HTML, Locator("", "the id&x"), f"{PAGE}#the%20id%26x:~:text=The%20bridge%20was%20finished%20in%201871."),
        (HTML, Locator(""), f"{PAGE}#:~:text=The%20bridge%20was%20finished%20in%201871."),
        (PLAIN, Locator("line 3"), f"{PAGE}#:~:text=The%20bridge%20was%20finished%20in%201871."),
        (MARKDOWN, Locator("", "setup"), f"{PAGE}#:~:text=The%20bridge%20was%20finished%20in%201871."),
        (DOCX, Locator('section "A"'), None),
        (ZIP, Locator("a.pdf, p. 3", "page=3", "a.pdf"), None),
        (HTML, Locator("a.html", "id", "a.html"), None),
    ],
)
def test_every_kind_of_document_has_its_fragment(media_type: str, locator: Locator, expected: str | None) -> None:
    assert deep_link(PAGE, media_type, locator, QUOTE) == expected
    assert deep_link(PAGE + "#old", media_type, locator, QUOTE) == expected


@pytest.mark.parametrize("url", [None, "s3://bucket/a.pdf", "gs://bucket/a.pdf", "file:///a.pdf"])
def test_only_what_a_browser_opens_has_a_link(url: str | None) -> None:
    assert deep_link(url, PDF, Locator("p. 1", "page=1"), QUOTE) is None


@pytest.mark.parametrize(
    ("quote", "expected"),
    [
        ("one-two, three & four", "text=one%2Dtwo%2C%20three%20%26%20four"),
        ("## A heading, long enough", "text=A%20heading%2C%20long%20enough"),
        ("- 1) An item of a list", "text=An%20item%20of%20a%20list"),
        (
            "one two three four five six seven eight nine ten eleven",
            "text=one two three four five,seven eight nine ten eleven",
        ),
        ("# Bridges\nThe bridge was finished in 1871.", "text=Bridges,bridge was finished in 1871."),
        ("bridge | 1871 | stone arches", ""),
        ("1871", ""),
        ("吾輩は猫である。名前はまだ無い。", "text=吾輩は猫である。名前はまだ無い。"),
    ],
)
def test_a_quote_as_a_text_directive(quote: str, expected: str) -> None:
    link = deep_link(PAGE, PLAIN, Locator(""), quote)
    if not expected:
        assert link is None
    else:
        assert link is not None
        start, directive = link.split("#:~:")
        assert start == PAGE and unquote(directive) == unquote(expected)
        assert directive.isascii() and "-" not in directive and directive.count(",") == ("," in expected)
