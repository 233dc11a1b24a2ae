"""The parts of a mail beside those that the standard library tells, and bodies too large for its way."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage, Message
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from longfold_server.errors import DocumentError
from longfold_server.ingest.formats import mime
from longfold_server.ingest.formats.mail import MAILS
from longfold_server.ingest.formats.mime import Part
from longfold_server.ingest.formats.source import BINARY
from longfold_server.ingest.sandbox import Sandbox

one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
"""For properties that write their examples over each other in one folder."""


def parsed(folder: Path, data: bytes) -> Part:
    path = folder / sha256(data).hexdigest()  # a mail inside is read while the outer one still is
    path.write_bytes(data)
    return mime.parse(path, ["subject"])


def lines(data: bytes) -> bytes:
    """With line ends of one kind."""
    return data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


Told = tuple[str, str | None, object]
"""A part's type, its file's name, and its content or its parts."""


def ours(part: Part, folder: Path) -> Told:
    name = part.get_filename()
    if part.get_content_type() in MAILS:
        return part.get_content_type(), name, [ours(parsed(folder, b"".join(part.content())), folder)]
    if part.is_multipart():
        return part.get_content_type(), name, [ours(one, folder) for one in part.iter_parts()]
    return part.get_content_type(), name, lines(b"".join(part.content()))


def theirs(part: Message) -> Told:
    held = part.get_payload()
    if isinstance(held, list):
        return part.get_content_type(), part.get_filename(), [theirs(one) for one in held if isinstance(one, Message)]
    content = part.get_payload(decode=True)
    assert isinstance(content, bytes)
    return part.get_content_type(), part.get_filename(), lines(content)


# Beside the standard library

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)
names = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=30)
encodings = st.sampled_from(["7bit", "8bit", "quoted-printable", "base64"])


@st.composite
def mails(draw: st.DrawFn, depth: int = 0) -> EmailMessage:
    """What programs that use the standard library send."""
    mail = EmailMessage()
    mail["Subject"] = draw(names)
    text, encoding = draw(texts), draw(encodings)
    mail.set_content(text, cte="8bit" if encoding == "7bit" and not text.isascii() else encoding)
    if draw(st.booleans()):
        mail.add_alternative(f"<p>{text}</p>", subtype="html", cte="quoted-printable")
    for _ in range(draw(st.integers(0, 3))):
        match draw(st.sampled_from(["bytes", "text", "mail", "lines"])):
            case "bytes":
                mail.add_attachment(draw(st.binary()), "application", "x-data", filename=draw(names))
            case "text":
                mail.add_attachment(draw(texts), filename=draw(names), cte=draw(st.sampled_from(["8bit", "base64"])))
            case "lines":  # what might be taken for a boundary
                mail.add_attachment("--\n--a\n----\n" + draw(texts), cte="8bit")
            case _ if depth < 2:
                mail.add_attachment(draw(mails(depth=depth + 1)))
    return mail


@one_folder
@given(mail=mails(), crlf=st.booleans(), more=st.sampled_from(["", "behind it\n"]))
def test_what_the_standard_library_writes_is_read_as_it_reads_it(
    tmp_path: Path, mail: EmailMessage, crlf: bool, more: str
) -> None:
    mail.preamble, mail.epilogue = more or None, more or None
    data = mail.as_bytes(policy=policy.SMTP if crlf else policy.default)
    read = message_from_bytes(data, policy=policy.default)
    mine = parsed(tmp_path, data)
    assert mine["Subject"] == read["Subject"]
    assert ours(mine, tmp_path) == theirs(read)


_LINES = [
    *["--a", "--a ", "--a--", "--a-- \t", "--b", "--b--", "--ab", "--", "----", "", "text", " goes on", ": x"],
    *["Content-Type: multipart/mixed; boundary=a", "Content-Type: multipart/mixed; boundary=b", "Subject: x", "x : y"],
    *[
        'Content-Type: multipart/alternative; boundary="a--"',
        "Content-Type: multipart/mixed",
        "Content-Type: text/html",
    ],
    *["Content-Type: multipart/mixed; boundary=", "Content-Transfer-Encoding: quoted-printable", "a=3D=", "= b", "="],
]


@settings(one_folder, max_examples=300)
@given(
    soup=st.lists(st.sampled_from(_LINES), max_size=30), end=st.sampled_from(["\n", "\r\n", "\r"]), ended=st.booleans()
)
def test_broken_mails_have_the_parts_that_the_standard_library_finds(
    tmp_path: Path, soup: list[str], end: str, ended: bool
) -> None:
    kept = ["Content-Type: multipart/mixed; boundary=a", ""]
    for line in soup:
        # Left out is what we read otherwise: a closing boundary behind another boundary closes; a boundary at the end
        # begins no part.
        if not (line.startswith("--") and kept[-1].startswith("--")):
            kept.append(line)
    kept += ["text"] * kept[-1].startswith("--")
    data = end.join(kept).encode() + end.encode() * ended
    mine = ours(parsed(tmp_path, data), tmp_path)
    assert unended(mine) == unended(theirs(message_from_bytes(lines(data), policy=policy.default)))


def unended(told: Told) -> Told:
    """Without the line ends behind each body: the last one is kept or not where a multipart has no parts."""
    kind, name, content = told
    if isinstance(content, bytes):
        return kind, name, content.rstrip(b"\n")
    assert isinstance(content, list)
    return kind, name, [unended(one) for one in content]


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def soup(alphabet: bytes) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(alphabet), max_size=60).map(bytes)


@given(data=soup(b"ABCDEFGHxyz09+/ABCDEFGHxyz09+/=\n *"), size=st.integers(1, 9))
def test_broken_base64_is_read_as_the_standard_library_reads_it(data: bytes, size: int) -> None:
    mail = message_from_bytes(b"Content-Transfer-Encoding: base64\n\n" + data, policy=policy.default)
    whole = mail.get_payload(decode=True)
    got = b"".join(mime._base64(cut(data, size)))
    if whole == b"".join(data.splitlines()) and whole:
        assert len(got) % 3 == 0  # one sign too many; the standard library then gives up what is before it
    else:
        assert got == whole


@given(data=soup(b"=43Dd \t\r\n=="), size=st.integers(1, 9))
def test_quoted_printable_is_read_across_pieces(data: bytes, size: int) -> None:
    assert b"".join(mime._quoted_printable(cut(data, size))) == binascii.a2b_qp(lines(data))


@given(data=st.binary(max_size=300), size=st.integers(1, 50))
def test_uuencode_is_read_across_pieces(data: bytes, size: int) -> None:
    rows = b"".join(binascii.b2a_uu(piece) for piece in cut(data, 45))
    assert b"".join(mime._uuencoded(cut(b"above\nbegin 644 a\n" + rows + b"`\nend\nbelow\n", size))) == data


@pytest.mark.parametrize("rows", [b"no beginning\n", b"begin 644 a\n!\xff\xff\n"])
def test_broken_uuencode_is_read_as_far_as_it_is_whole(rows: bytes) -> None:
    assert b"".join(mime._uuencoded(iter([rows]))) == b""


# By hand

MULTIPART = b"Subject: s\nContent-Type: multipart/mixed; boundary=b\n\n"


def bodies(folder: Path, data: bytes) -> list[bytes]:
    return [b"".join(part.content()) for part in parsed(folder, data).walk() if not part.is_multipart()]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_line_ends_and_what_stands_around_the_parts(tmp_path: Path, end: bytes) -> None:
    data = MULTIPART + b"before\n--bb\n--b\n\none\n\n--b \t\n\n--bb\ntwo\n--b--\nbehind\n--b\n\nnot\n"
    assert bodies(tmp_path, data.replace(b"\n", end)) == [b"one" + end, b"--bb" + end + b"two"]


def test_a_boundary_that_is_never_closed(tmp_path: Path) -> None:
    inner = b"--b\nContent-Type: multipart/mixed; boundary=c\n\n--c\n\none\n--b\n\ntwo"
    assert bodies(tmp_path, MULTIPART + inner) == [b"one", b"two"]


def test_an_mbox_line_above_the_header_and_one_that_begins_the_body(tmp_path: Path) -> None:
    got = parsed(tmp_path, b"From x\nSubject: s\nFrom y\nContent-Type: text/html\nFrom here on\ntext\n")
    assert (got["Subject"], got.get_content_type()) == ("s", "text/html")
    assert b"".join(got.content()) == b"From here on\ntext\n"


def test_a_field_that_is_too_long_is_cut_and_the_next_is_read(tmp_path: Path) -> None:
    got = parsed(tmp_path, b"X: " + b"x" * 200_000 + b"\nSubject: " + b"s" * 200_000 + b"\n t\n" + MULTIPART[11:])
    assert 16_000 < len(got["Subject"]) < 17_000 and got.get_content_type() == "multipart/mixed"


def test_fields_that_break_the_parser_are_as_if_missing(tmp_path: Path) -> None:
    number = "9" * 5_000
    got = parsed(tmp_path, f"Content-Type: multipart/mixed; boundary*{number}=b\nSubject: s\n\ntext".encode())
    assert b"".join(got.content()) == b"text"
    assert parsed(tmp_path, b"Content-Type: text/" + b"(" * 3_000 + b"\n\ntext").get_content_type() == "text/plain"


# In a parser process that has no room for them

HEAD = b"From: a@b.c\nTo: d@e.f\nSubject: s\n"
ANSWER = "the code is 58213"


async def read(folder: Path, pieces: Iterable[bytes]) -> str:
    """The text of a mail. The process may have 200 MiB of address space, of which it needs most to begin with."""
    with (folder / "mail").open("wb") as file:
        file.writelines(pieces)
    sandbox = Sandbox(memory_bytes=200 << 20, base_seconds=600)
    try:
        await sandbox.parse("message/rfc822", folder / "mail", BINARY, folder / "text", folder / "index")
    finally:
        await sandbox.aclose()
    return (folder / "text").read_text()


def repeated(data: bytes, times: int) -> Iterator[bytes]:
    return (data for _ in range(times))


async def test_a_body_larger_than_memory(tmp_path: Path) -> None:
    kind = MULTIPART.partition(b"\n")[2] + b"--b\nContent-Transfer-Encoding: base64\n\n"
    line = binascii.b2a_base64(b"a line of a long mail" * 2)
    text = await read(tmp_path, [HEAD, kind, *repeated(line * 10_000, 250), b"\n--b\n\n", ANSWER.encode()])
    assert len(text) > 100_000_000 and ANSWER in text


async def test_a_line_of_200_megabytes(tmp_path: Path) -> None:
    text = await read(tmp_path, [HEAD, b"\n", *repeated(b"a" * 1_000_000, 200), b"\n", ANSWER.encode()])
    assert len(text) > 200_000_000 and text.endswith(ANSWER)


LONG, MANY = b"X: " + b"x" * 1_000_000 + b"\n", b"X: x\n" * 200_000


@pytest.mark.parametrize(
    ("field", "count"),
    [(LONG, 20), (MANY, 20), pytest.param(LONG, 1_000, marks=pytest.mark.slow)],
    ids=["long fields", "many fields", "a gigabyte"],
)
async def test_a_header_without_end(tmp_path: Path, field: bytes, count: int) -> None:
    text = await read(tmp_path, [HEAD, *repeated(field, count), b"\n", ANSWER.encode()])
    assert text.endswith(ANSWER)


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
async def test_parts_without_end(tmp_path: Path, count: int) -> None:
    part = b"--b\nContent-Type: text/plain\n\nword\n"
    text = await read(tmp_path, [HEAD, MULTIPART[11:], *repeated(part, count), b"--b\n\n", ANSWER.encode()])
    assert text.count("word") == count and ANSWER in text


async def test_multiparts_in_multiparts_without_end(tmp_path: Path) -> None:
    nest = b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n"
    with pytest.raises(DocumentError) as caught:
        await read(tmp_path, [HEAD, *(nest % (depth, depth) for depth in range(10_000)), b"\n", ANSWER.encode()])
    assert caught.value.code == "document_undecodable" and "too deep" in caught.value.detail
    text = await read(
        tmp_path, [HEAD, *(nest % (depth, depth) for depth in range(mime.MOST_DEPTH)), b"\n", ANSWER.encode()]
    )
    assert ANSWER in text
