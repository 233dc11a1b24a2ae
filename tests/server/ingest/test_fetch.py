from __future__ import annotations

import gzip
import hashlib
import socket
import ssl
import struct
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from longfold_server.errors import DocumentError
from longfold_server.ingest.addresses import AddressPolicy
from longfold_server.ingest.fetch import Fetched, Fetcher, FetchLimits
from longfold_server.ingest.guard import Guard, GuardedTransport, Resolve

from .conftest import Site, response


@asynccontextmanager
async def fetching(limits: FetchLimits, resolver: Resolve | None = None) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(limits, resolver=resolver) if resolver else Fetcher(limits)
    try:
        yield fetcher
    finally:
        await fetcher.aclose()


async def fetch(
    limits: FetchLimits, url: str, target: Path, resolver: Resolve | None = None, authorization: str | None = None
) -> Fetched:
    async with fetching(limits, resolver) as fetcher:
        return await fetcher.fetch(url, target, authorization)


async def refused(limits: FetchLimits, url: str, target: Path, resolver: Resolve | None = None) -> DocumentError:
    with pytest.raises(DocumentError) as caught:
        await fetch(limits, url, target, resolver)
    assert "127.0.0.1" not in caught.value.detail
    assert "token" not in caught.value.detail
    return caught.value


async def test_a_document_arrives_whole_with_its_hash(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    body = b"hello\n" * 50_000
    got = await fetch(limits, site.page("/a.txt", body, "text/plain; charset=utf-8") + "?token=1", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == body
    assert (got.bytes, got.sha256, got.content_type) == (
        len(body), hashlib.sha256(body).hexdigest(), "text/plain; charset=utf-8",
    )  # fmt: skip
    request = site.requests[0].lower()
    assert request.startswith("get /a.txt?token=1 http/1.1")
    assert f"host: 127.0.0.1:{site.port}" in request
    assert "user-agent: longfold" in request
    assert "cookie" not in request and "authorization" not in request


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "①②⑦.1"],  # noqa: E501
)  # fmt: skip
async def test_this_machine_is_never_reached_unless_allowed(
    site: Site, limits: FetchLimits, tmp_path: Path, host: str
) -> None:
    site.page("/a", b"secret")
    error = await refused(replace(limits, allow_networks=()), site.url("/a", host), tmp_path / "f")
    assert error.code == "document_blocked"
    assert site.requests == []


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "100.100.100.200", "[64:ff9b::7f00:1]", "[2002:7f00:1::]"]
)
async def test_metadata_and_translated_addresses_are_blocked(limits: FetchLimits, tmp_path: Path, host: str) -> None:
    assert (await refused(limits, f"http://{host}/latest?token=1", tmp_path / "f")).code == "document_blocked"


async def test_allowed_spellings_of_loopback_work(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.page("/a", b"text")
    for host in ("127.1", "2130706433", "localhost.", "[::ffff:127.0.0.1]"):
        assert (await fetch(limits, site.url("/a", host), tmp_path / "f")).bytes == 4


async def test_one_private_address_among_many_blocks_the_name(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    async def mixed(host: str, port: int) -> list[str]:
        return ["127.0.0.1", "10.0.0.1"]

    assert (await refused(limits, site.url("/a", "mixed.example"), tmp_path / "f", mixed)).code == "document_blocked"
    assert site.requests == []


async def test_a_rebinding_name_is_resolved_once_per_connection_and_checked_each_time(
    site: Site, limits: FetchLimits, tmp_path: Path
) -> None:
    answers = [["127.0.0.1"], ["10.0.0.1"]]
    asked = []

    async def rebinding(host: str, port: int) -> list[str]:
        asked.append(host)
        return answers[len(asked) - 1]

    site.pages["/a"] = response(b"", status="302 Found", Location="/b")
    site.page("/b", b"never")
    error = await refused(limits, site.url("/a", "rebind.example"), tmp_path / "f", rebinding)
    assert error.code == "document_blocked"
    assert asked == ["rebind.example"] * 2
    assert [request.split(" ")[1] for request in site.requests] == ["/a"]
    assert f"Host: rebind.example:{site.port}" in site.requests[0]


async def test_an_unknown_name_is_unreachable(limits: FetchLimits, tmp_path: Path) -> None:
    async def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "no such name")

    assert (await refused(limits, "http://nowhere.example/", tmp_path / "f", unknown)).code == "document_unreachable"


async def test_ports_are_checked_before_anything_else(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.page("/a", b"text")
    error = await refused(replace(limits, ports=(80, 443)), site.url("/a"), tmp_path / "f")
    assert error.code == "document_blocked"
    assert site.requests == []


@pytest.mark.parametrize(
    "target", ["http://10.0.0.1/", "http://169.254.169.254/x", "//[::ffff:10.0.0.1]/", "file:///etc/passwd", "http://me:pw@example.com/"]
)  # fmt: skip
async def test_redirects_are_checked_like_first_requests(
    site: Site, limits: FetchLimits, tmp_path: Path, target: str
) -> None:
    site.pages["/a"] = response(b"", status="302 Found", Location=target)
    assert (await refused(limits, site.url("/a"), tmp_path / "f")).code == "document_blocked"


async def test_redirects_end_after_five(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    for number in range(5):
        site.pages[f"/{number}"] = response(b"", status="307 Temporary Redirect", Location=f"/{number + 1}")
    site.page("/5", b"done")
    assert (await fetch(limits, site.url("/0"), tmp_path / "f")).location.file_name == "5"
    site.pages["/loop"] = response(b"", status="301 Moved Permanently", Location="/loop")
    assert (await refused(limits, site.url("/loop"), tmp_path / "f")).code == "document_http_error"
    site.pages["/nowhere"] = response(b"", status="302 Found")
    assert (await refused(limits, site.url("/nowhere"), tmp_path / "f")).code == "document_http_error"


async def test_authorization_stays_with_its_origin(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.pages["/a"] = response(b"", status="302 Found", Location="/b")
    site.pages["/b"] = response(b"", status="302 Found", Location=site.url("/c", "127.1.1.1"))
    site.page("/c", b"done")
    with pytest.raises(
        DocumentError
    ):  # nobody listens on 127.1.1.1, and nothing but the origin's own host got the secret
        await fetch(limits, site.url("/a"), tmp_path / "f", authorization="Bearer secret")
    site.pages["/b"] = response(b"", status="302 Found", Location=site.url("/c", "localhost"))
    await fetch(limits, site.url("/a"), tmp_path / "f", authorization="Bearer secret")
    carried = {request.split(" ")[1]: "secret" in request for request in site.requests}
    assert carried == {"/a": True, "/b": True, "/c": False}


async def test_sizes_are_counted_on_the_wire_and_decoded(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.page("/big", b"x" * 1_000_001)
    assert (await refused(limits, site.url("/big"), tmp_path / "f")).code == "document_too_large"

    def unannounced(connection: socket.socket, request: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    site.pages["/endless"] = unannounced
    assert (await refused(limits, site.url("/endless"), tmp_path / "f")).code == "document_too_large"
    assert (tmp_path / "f").stat().st_size <= 3_000_000
    for encoding, bomb in (
        ("gzip", gzip.compress(bytes(100_000_000), 1)),
        ("deflate", zlib.compress(bytes(50_000_000))),
    ):
        big_wire = replace(limits, max_bytes=2_000_000)
        site.page("/bomb", bomb, Content_Encoding=encoding)
        assert (await refused(big_wire, site.url("/bomb"), tmp_path / "f")).code == "document_too_large"
        assert (tmp_path / "f").stat().st_size <= 4_000_000


async def test_compressed_bodies_are_decoded(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    body = bytes(range(256)) * 1000
    raw = zlib.compressobj(wbits=-15)
    forms = {
        "gzip": gzip.compress(body),
        "X-GZIP": gzip.compress(body[:1000]) + gzip.compress(body[1000:]) + b"\0\0",
        "deflate": zlib.compress(body),
        "Deflate": raw.compress(body) + raw.flush(),
        "identity": body,
    }
    for encoding, data in forms.items():
        site.page("/z", data, Content_Encoding=encoding)
        assert (await fetch(limits, site.url("/z"), tmp_path / "f")).bytes == len(body)
        assert (tmp_path / "f").read_bytes() == body


async def test_other_or_damaged_encodings_are_typed_errors(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.page("/br", b"xx", Content_Encoding="br")
    assert (await refused(limits, site.url("/br"), tmp_path / "f")).code == "document_unsupported"
    site.page("/twice", gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip, gzip")
    assert (await refused(limits, site.url("/twice"), tmp_path / "f")).code == "document_unsupported"
    site.page("/bad", b"\x1f\x8b" + b"\xff" * 100, Content_Encoding="gzip")
    assert (await refused(limits, site.url("/bad"), tmp_path / "f")).code == "document_undecodable"
    site.page("/cut", gzip.compress(b"some text " * 1000)[:-20], Content_Encoding="gzip")
    assert (await refused(limits, site.url("/cut"), tmp_path / "f")).code == "document_unreachable"


async def test_a_cut_body_is_tried_again_and_then_reported(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.pages["/short"] = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this"
    error = await refused(limits, site.url("/short"), tmp_path / "f")
    assert error.code == "document_unreachable"
    assert "whole document" in error.detail
    assert len(site.requests) == 3
    site.pages["/chunks"] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"
    assert (await refused(limits, site.url("/chunks"), tmp_path / "f")).code == "document_unreachable"
    for length in ("-5", "abc", "5, 6"):
        site.pages["/odd"] = f"HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\nhello".encode()
        assert (await refused(limits, site.url("/odd"), tmp_path / "f")).code == "document_unreachable"


async def test_resets_and_5xx_are_tried_again(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    turns = []

    def flaky(connection: socket.socket, request: str) -> None:
        turns.append(request)
        if len(turns) == 1:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return
        connection.sendall(response(b"busy", status="503 Busy") if len(turns) == 2 else response(b"done"))

    site.pages["/flaky"] = flaky
    assert (await fetch(limits, site.url("/flaky"), tmp_path / "f")).bytes == 4
    assert (tmp_path / "f").read_bytes() == b"done"
    site.pages["/down"] = response(b"", status="500 Oops")
    assert (await refused(limits, site.url("/down"), tmp_path / "f")).code == "document_http_error"


@pytest.mark.parametrize(
    ("status", "code"),
    [("404 Not Found", "document_not_found"), ("410 Gone", "document_not_found"), ("403 Forbidden", "document_http_error"),  # noqa: E501
     ("204 No Content", "document_empty"), ("206 Partial", "document_http_error"), ("418 Teapot", "document_http_error")],  # noqa: E501
)  # fmt: skip
async def test_statuses_have_their_codes_and_no_second_try(
    site: Site, limits: FetchLimits, tmp_path: Path, status: str, code: str
) -> None:
    site.pages["/s"] = response(b"", status=status)
    assert (await refused(limits, site.url("/s"), tmp_path / "f")).code == code
    assert len(site.requests) == 1


async def test_silence_and_dripping_end_in_time(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    def silent(connection: socket.socket, request: str) -> None:
        connection.recv(1)

    def drip(connection: socket.socket, request: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x")
            time.sleep(0.05)

    def dripping_head(connection: socket.socket, request: str) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\n")
        while True:
            connection.sendall(b"X-A: b\r\n")
            time.sleep(0.05)

    quick = replace(limits, connect_seconds=0.3, read_seconds=0.3, slow_after_seconds=0.3)
    for page in (silent, drip, dripping_head):
        site.pages["/slow"] = page
        assert (await refused(quick, site.url("/slow"), tmp_path / "f")).code == "document_timeout"
    site.pages["/slow"] = drip
    total = replace(limits, total_seconds=0.3, slow_after_seconds=100.0)
    assert (await refused(total, site.url("/slow"), tmp_path / "f")).code == "document_timeout"


async def test_what_is_not_http_is_unreachable(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    site.pages["/ssh"] = b"SSH-2.0-OpenSSH_9.0\r\n"
    assert (await refused(limits, site.url("/ssh"), tmp_path / "f")).code == "document_unreachable"
    site.pages["/nothing"] = b""
    assert (await refused(limits, site.url("/nothing"), tmp_path / "f")).code == "document_unreachable"
    https = site.url("/x").replace("http:", "https:")  # the site waits for the end of a head that is no TLS
    assert (await refused(replace(limits, read_seconds=0.3), https, tmp_path / "f")).code == "document_timeout"


async def test_a_closed_port_is_unreachable(limits: FetchLimits, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert (await refused(limits, f"http://127.0.0.1:{port}/", tmp_path / "f")).code == "document_unreachable"


async def test_the_transport_is_usable_by_an_ordinary_client(site: Site) -> None:
    site.page("/a", b"text")
    context = ssl.create_default_context()
    transport = GuardedTransport(Guard(AddressPolicy(["127.0.0.0/8"]), ports=()), context)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        assert (await client.get(site.url("/a"))).text == "text"
