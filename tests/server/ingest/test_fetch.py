from __future__ import annotations

import asyncio
import gzip
import hashlib
import random
import re
import socket
import ssl
import struct
import threading
import time
import zlib
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import pytest

from longfold_server.errors import DocumentError
from longfold_server.ingest.addresses import AddressPolicy
from longfold_server.ingest.credentials import NOBODY, Credentials
from longfold_server.ingest.fetch import Fetched, Fetcher, FetchLimits, Unchanged
from longfold_server.ingest.guard import Guard, GuardedTransport, Resolve, UnknownHost
from longfold_server.ingest.location import locate
from longfold_server.ingest.transfer import Validators

from .conftest import Site, response


@asynccontextmanager
async def fetching(limits: FetchLimits, resolver: Resolve | None = None) -> AsyncIterator[Fetcher]:
    fetcher = Fetcher(limits, resolver=resolver) if resolver else Fetcher(limits)
    try:
        yield fetcher
    finally:
        await fetcher.aclose()


async def fetch(
    limits: FetchLimits,
    url: str,
    target: Path,
    resolver: Resolve | None = None,
    credentials: Credentials = NOBODY,
    known: Validators | None = None,
) -> Fetched:
    async def told(location: str) -> Validators:
        return known or Validators()

    async with fetching(limits, resolver) as fetcher:
        got = await fetcher.fetch(url, target, credentials, told)
        assert isinstance(got, Fetched)
        return got


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
    "date", ["Mon, 01 Jan 2020 00:00:00 +99999999999999999999", "Mon, 01 Jan 99999999999999999999 00:00:00 GMT"]
)
async def test_a_date_beyond_all_calendars_is_none(site: Site, limits: FetchLimits, tmp_path: Path, date: str) -> None:
    url = site.page("/a", b"text", Last_Modified=date, Date="Mon, 23 Nov 2026 00:00:00 GMT")
    assert (await fetch(limits, url, tmp_path / "f")).bytes == 4


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


async def test_an_address_that_is_silent_leaves_the_next_one_its_time(
    site: Site, limits: FetchLimits, tmp_path: Path
) -> None:
    async def both(host: str, port: int) -> list[str]:
        return ["127.0.0.2", "127.0.0.1"]

    with ExitStack() as sockets:
        sockets.enter_context(socket.create_server(("127.0.0.2", site.port), backlog=0))
        for _ in range(8):  # a queue that is full drops who else comes
            waiting = sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.2", site.port))
        url = site.page("/a", b"text").replace("127.0.0.1", "two.example")
        assert (await fetch(replace(limits, connect_seconds=2), url, tmp_path / "f", both)).bytes == 4


async def test_names_whose_servers_are_silent_hold_up_no_file_work(monkeypatch: pytest.MonkeyPatch) -> None:
    spoken = threading.Event()

    def silent(*arguments: object, **options: object) -> list[object]:
        spoken.wait(60)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    guard = Guard(AddressPolicy())
    asked = [asyncio.ensure_future(guard.connect_tcp(f"{n}.example", 443)) for n in range(40)]
    await asyncio.sleep(0.1)
    try:
        await asyncio.wait_for(asyncio.to_thread(int), 30)
    finally:
        spoken.set()
        ended = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(error) for error in ended} == {UnknownHost}


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


@pytest.mark.parametrize("ports", [(80, 443), ()])
async def test_ports_are_checked_before_anything_else(
    site: Site, limits: FetchLimits, tmp_path: Path, ports: tuple[int, ...]
) -> None:
    site.page("/a", b"text")
    error = await refused(replace(limits, ports=ports), site.url("/a"), tmp_path / "f")
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
    assert (await fetch(limits, site.url("/0"), tmp_path / "f")).location == site.url("/5")
    site.pages["/loop"] = response(b"", status="301 Moved Permanently", Location="/loop")
    assert (await refused(limits, site.url("/loop"), tmp_path / "f")).code == "document_http_error"
    site.pages["/nowhere"] = response(b"", status="302 Found")
    assert (await refused(limits, site.url("/nowhere"), tmp_path / "f")).code == "document_http_error"


async def test_credentials_stay_with_their_origin(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    ours = Credentials(
        {site.url(""): {"Authorization": "Bearer secret"}, site.url("", "localhost"): {"X-Key": "other"}}
    )
    site.pages["/a"] = response(b"", status="302 Found", Location="/b")
    site.pages["/b"] = response(b"", status="302 Found", Location=site.url("/c", "127.1.1.1"))
    with pytest.raises(DocumentError):  # nobody listens there, and nothing but the origins' own hosts got a secret
        await fetch(limits, site.url("/a"), tmp_path / "f", credentials=ours)
    site.pages["/b"] = response(b"", status="302 Found", Location=site.url("/c", "localhost"))
    site.page("/c", b"done")
    await fetch(limits, site.url("/a"), tmp_path / "f", credentials=ours)
    carried = {request.split(" ")[1]: ("secret" in request, "other" in request) for request in site.requests}
    assert carried == {"/a": (True, False), "/b": (True, False), "/c": (False, True)}
    assert "secret" not in repr(ours)


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


async def test_no_fetch_waits_for_the_connection_of_another(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    ended = threading.Event()

    def slow(connection: socket.socket, request: str) -> None:
        ended.wait(10)
        connection.sendall(response(b"at last"))

    site.pages["/slow"] = slow
    url = site.page("/fast", b"text")
    most = 100
    patient = replace(limits, per_host=most + 1, read_seconds=10.0)
    async with fetching(patient) as fetcher:
        busy = [asyncio.create_task(fetcher.fetch(site.url("/slow"), tmp_path / f"{n}")) for n in range(most)]
        try:
            async with asyncio.timeout(5):
                while len(site.requests) < most:
                    await asyncio.sleep(0.01)
                assert isinstance(await fetcher.fetch(url, tmp_path / "fast"), Fetched)
        finally:
            ended.set()
            await asyncio.gather(*busy)


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
    transport = GuardedTransport(Guard(AddressPolicy(["127.0.0.0/8"]), ports=[site.port]), context)
    async with httpx.AsyncClient(transport=transport, trust_env=False) as client:
        assert (await client.get(site.url("/a"))).text == "text"


BODY = bytes(range(256)) * 2_000


@dataclass
class Breaking:
    """A server that breaks every answer off after `most` bytes of its body, and goes on where it is asked to."""

    body: bytes
    most: int
    headers: str = 'ETag: "one"'
    later: str | None = None
    """The headers of later answers, when they are other ones."""
    ranged: bool = True
    whole: int = 1_000
    """From which answer on nothing breaks."""
    asked: list[str] = field(default_factory=list)

    def __call__(self, connection: socket.socket, request: str) -> None:
        found = re.search(r"\r\nRange: bytes=(\d+)-\r\n", request)
        self.asked.append(found[1] if found else "")
        headers = self.headers if len(self.asked) == 1 or self.later is None else self.later
        start = int(found[1]) if found and self.ranged else 0
        part = self.body[start : start + self.most] if len(self.asked) < self.whole else self.body[start:]
        status = f"206 Partial Content\r\nContent-Range: bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        line = status if found and self.ranged else "200 OK"
        head = f"HTTP/1.1 {line}\r\nContent-Length: {len(self.body) - start}\r\n{headers}\r\n\r\n"
        connection.sendall(head.encode() + part)


async def test_a_broken_transfer_goes_on_where_it_broke(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    page = site.pages["/a"] = Breaking(BODY, 150_000)
    got = await fetch(limits, site.url("/a"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert got.sha256 == hashlib.sha256(BODY).hexdigest()
    assert page.asked == ["", "150000", "300000", "450000"]
    assert 'If-Range: "one"' in site.requests[1]


async def test_it_goes_on_behind_a_redirect_and_in_the_middle_of_a_compressed_stream(
    site: Site, limits: FetchLimits, tmp_path: Path
) -> None:
    packed = gzip.compress(random.Random(1).randbytes(200_000) + BODY)
    site.pages["/a"] = response(b"", status="302 Found", Location="/b?signed=1")
    site.pages["/b"] = Breaking(packed, 90_001, 'ETag: "z"\r\nContent-Encoding: gzip')
    got = await fetch(limits, site.url("/a"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == gzip.decompress(packed)
    assert got.bytes == 200_000 + len(BODY)
    assert [request.split(" ")[1] for request in site.requests] == ["/a", "/b?signed=1", "/b?signed=1", "/b?signed=1"]


@pytest.mark.parametrize(
    ("headers", "later"),
    [
        ('ETag: W/"weak"', None),
        ("X-None: 1", None),
        ("Last-Modified: Sat, 01 Nov 2025 10:00:00 GMT\r\nDate: Sat, 01 Nov 2025 10:00:05 GMT", None),
    ],
)
async def test_without_a_strong_validator_nothing_is_put_together(
    site: Site, limits: FetchLimits, tmp_path: Path, headers: str, later: str | None
) -> None:
    page = site.pages["/a"] = Breaking(BODY, 150_000, headers, later)
    assert (await refused(limits, site.url("/a"), tmp_path / "f")).code == "document_unreachable"
    assert page.asked == ["", "", ""]


async def test_an_old_modification_date_is_strong_enough(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    dated = "Last-Modified: Sat, 01 Nov 2025 10:00:00 GMT\r\nDate: Sat, 01 Nov 2025 10:01:00 GMT"
    page = site.pages["/a"] = Breaking(BODY, 300_000, dated)
    assert (await fetch(limits, site.url("/a"), tmp_path / "f")).bytes == len(BODY)
    assert page.asked == ["", "300000"]


async def test_parts_of_two_versions_are_never_put_together(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    changed = site.pages["/a"] = Breaking(BODY, 300_000, 'ETag: "one"', 'ETag: "two"', whole=3)
    got = await fetch(limits, site.url("/a"), tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == BODY
    assert (got.validators.etag, changed.asked) == ('"two"', ["", "300000", ""])
    whole = site.pages["/b"] = Breaking(BODY, 300_000, ranged=False)
    assert (await refused(limits, site.url("/b"), tmp_path / "f")).code == "document_unreachable"
    assert whole.asked == ["", "300000", "300000"]


async def test_an_unchanged_document_is_not_sent_again(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    def page(connection: socket.socket, request: str) -> None:
        same = 'If-None-Match: "one"' in request
        connection.sendall(
            response(b"" if same else b"text", status="304 Not Modified" if same else "200 OK", ETag='"one"')
        )

    site.pages["/a"] = response(b"", status="302 Found", Location="/b")
    site.pages["/b"] = page
    got = await fetch(limits, site.url("/a"), tmp_path / "f")
    assert (got.location, got.validators) == (site.url("/b"), Validators('"one"'))

    async def known(location: str) -> Validators:
        return got.validators if location == got.location else Validators()

    async with fetching(limits) as fetcher:
        again = await fetcher.fetch(site.url("/a"), tmp_path / "f", known=known)
    assert again == Unchanged(site.url("/b"))
    assert "If-None-Match" not in site.requests[2] and "If-None-Match" in site.requests[3]
    site.pages["/b"] = response(b"", status="304 Not Modified")
    assert (
        await refused(limits, site.url("/b"), tmp_path / "f")
    ).code == "document_http_error"  # nobody asked for that


@pytest.mark.parametrize("header", ["Cache-Control: private, no-store", "Vary: *"])
async def test_what_must_not_be_kept_has_no_validators(
    site: Site, limits: FetchLimits, tmp_path: Path, header: str
) -> None:
    name, value = header.split(": ")
    site.page("/a", b"text", **{name.replace("-", "_"): value, "ETag": '"one"'})
    assert not (await fetch(limits, site.url("/a"), tmp_path / "f")).validators


async def test_a_host_is_asked_only_so_much_at_once(site: Site, limits: FetchLimits, tmp_path: Path) -> None:
    now, most = [0], [0]
    counting = threading.Lock()

    def page(connection: socket.socket, request: str) -> None:
        with counting:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.05)
        with counting:
            now[0] -= 1
        connection.sendall(response(b"text"))

    site.pages["/a"] = page
    async with fetching(replace(limits, per_host=2)) as fetcher:
        await asyncio.gather(*(fetcher.fetch(site.url("/a"), tmp_path / str(number)) for number in range(12)))
    assert most == [2]


@pytest.mark.parametrize(
    ("origin", "name", "value"),
    [
        ("https://example.com/path", "Authorization", "x"),
        ("ftp://example.com", "Authorization", "x"),
        ("https://example.com", "Host", "x"),
        ("https://example.com", "Range", "bytes=0-1"),
        ("https://example.com", "User-Agent", "another"),
        ("https://example.com", "Proxy-Authorization", "x"),
        ("https://example.com", "X-Forwarded-For", "10.0.0.1"),
        ("https://example.com", "Content-Length", "5"),
        ("https://example.com", "Bad Name", "x"),
        ("https://example.com", "Authorization", "two\r\nHost: lines"),
        ("https://example.com", "Authorization", ""),
        ("https://example.com", "Authorization", "sekrit\u20ac"),
    ],
)
def test_credentials_that_cannot_be_sent_are_refused(origin: str, name: str, value: str) -> None:
    with pytest.raises(DocumentError) as caught:
        Credentials({origin: {name: value}})
    assert not value or len(value) < 3 or value not in caught.value.detail


def test_credentials_are_found_by_scheme_host_and_port() -> None:
    ours = Credentials({"https://EXAMPLE.com": {"Cookie": "a=b"}})
    assert ours.of(locate("https://example.com:443/x")) == {"Cookie": "a=b"}
    for other in ("http://example.com/", "https://example.com:8443/", "https://www.example.com/"):
        assert ours.of(locate(other)) == {}
    assert not Credentials({}) and ours
