from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_server.errors import DocumentError
from longfold_server.ingest.location import display, locate, name_of


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://127.1/", "127.0.0.1"),
        ("http://2130706433/", "127.0.0.1"),
        ("http://0x7f000001/", "127.0.0.1"),
        ("http://0x7f.1/", "127.0.0.1"),
        ("http://0177.0.0.1/", "127.0.0.1"),
        ("http://0/", "0.0.0.0"),
        ("http://127.0.0.1./", "127.0.0.1"),
        ("http://①②⑦.⓪.⓪.①/", "127.0.0.1"),
        ("http://127。0。0。1/", "127.0.0.1"),
        ("http://[::1]/", "::1"),
        ("http://[::ffff:127.0.0.1]/", "::ffff:7f00:1"),
        ("http://EXAMPLE.com./x", "example.com"),
        ("http://bücher.example/", "xn--bcher-kva.example"),
        ("http://under_score.example/", "under_score.example"),
        ("HTTPS://example.com", "example.com"),
        ("  http://example.com/a  ", "example.com"),
    ],
)
def test_every_spelling_of_a_host_is_normalised(url: str, host: str) -> None:
    assert locate(url).url.raw_host.decode("ascii") == host


@pytest.mark.parametrize(
    "url",
    [
        "", "http://", "http:///path", "http://?x", "example.com/a", "http://[::1", "http://[::zz]/", "http://256.256.256.256/",
        "http://1.2.3.4.5/", "http://0xzz.1/", "http://4294967296/", "http://1.2.3.08/", "http://a..b/", "http://.a/",
        "http://a b/", "http://a\tb/", "http://good.example\\@127.0.0.1/", "http://%31%32%37.0.0.1/", "http://a:99999/",
        "http://a:0/", "http://a:x/", "http://-a.example/", "http://" + "a" * 64 + ".example/", "http://a/\x00",
        "http://exa\u00admple.com\u2044x/", "http://a/" + "x" * 9000, "http://a/\ud800",
    ],
)  # fmt: skip
def test_what_is_no_usable_url_is_refused(url: str) -> None:
    with pytest.raises(DocumentError) as caught:
        locate(url)
    assert caught.value.code in ("document_invalid", "document_blocked")


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "data:text/plain,hi", "javascript:1", "unix:/x",  # noqa: E501
        "http://user@example.com/", "http://user:secret@example.com/", "http://@example.com/", "http://[fe80::1%25eth0]/",
    ],
)  # fmt: skip
def test_other_schemes_credentials_and_zones_are_blocked(url: str) -> None:
    with pytest.raises(DocumentError) as caught:
        locate(url)
    assert caught.value.code == "document_blocked"
    assert "secret" not in caught.value.detail


def test_redirects_resolve_against_their_page() -> None:
    base = locate("https://example.com/a/b?x=1")
    assert str(locate("../c", base).url) == "https://example.com/c"
    assert str(locate("//other.example/d", base).url) == "https://other.example/d"
    assert locate("?y", base).origin == base.origin
    assert locate("http://example.com/", base).origin != base.origin


def test_a_fragment_is_dropped_and_a_query_kept() -> None:
    assert str(locate("http://example.com/a?b=1#c").url) == "http://example.com/a?b=1"


def test_the_file_name_is_decoded_and_falls_back_to_the_host() -> None:
    assert name_of("http://example.com/a/annual%20report.txt?x") == "annual report.txt"
    assert name_of("http://example.com:8080/") == "example.com"
    assert name_of("s3://reports/2026/q3.pdf") == "q3.pdf"


def test_the_display_form_holds_no_secrets() -> None:
    shown = display("https://me:pw@example.com/a/b?token=abc#frag")
    assert shown == "https://example.com/a/b"


@given(st.text(max_size=60))
def test_any_text_gives_a_location_or_a_typed_error(text: str) -> None:
    for url in (text, f"http://{text}", f"http://example.com/{text}"):
        assert "?" not in display(url)
        try:
            located = locate(url)
        except DocumentError as error:
            assert error.code.startswith("document_")
        else:
            assert located.url.scheme in ("http", "https")
            assert located.url.host
