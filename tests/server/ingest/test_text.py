from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from longfold_server.ingest import text

GERMAN = "Die Größe der Bücher überraschte den Leser; für fünf Äpfel zahlte er süße Küsse. " * 5
RUSSIAN = "Мы читали длинную книгу о том, как растут деревья и текут реки в далёкой стране. " * 5
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 5


def read(path: Path, data: bytes, charset: str | None = None, markup: bool = False) -> tuple[str, str]:
    path.write_bytes(data)
    encoding = text.choose(path, charset, markup)
    return encoding.name, "".join(text.pieces(path, encoding))


@pytest.mark.parametrize("codec", ["utf-8-sig", "utf-16", "utf-32"])
def test_a_byte_order_mark_decides(tmp_path: Path, codec: str) -> None:
    assert read(tmp_path / "f", JAPANESE.encode(codec), "iso-8859-1")[1] == JAPANESE


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_wide_text_without_mark_is_seen_by_its_zero_bytes(tmp_path: Path, codec: str) -> None:
    assert read(tmp_path / "f", GERMAN.encode(codec)) == (codec, GERMAN)


@pytest.mark.parametrize(
    ("charset", "codec", "content"),
    [
        ("windows-1252", "cp1252", GERMAN),
        ("ISO-8859-1", "latin-1", GERMAN),
        ("windows-1251", "cp1251", RUSSIAN),
        ("koi8-r", "koi8-r", RUSSIAN),
        ("Shift_JIS", "cp932", JAPANESE),
        ("euc-jp", "euc_jp", JAPANESE),
        ("iso-2022-jp", "iso2022_jp", JAPANESE),
        ("gb2312", "gb18030", JAPANESE),
        ("utf-8", "utf-8", JAPANESE),
    ],
)
def test_a_declared_charset_is_believed(tmp_path: Path, charset: str, codec: str, content: str) -> None:
    assert read(tmp_path / "f", content.encode(codec), charset)[1] == content


def test_the_meta_charset_counts_in_markup_only_and_after_http(tmp_path: Path) -> None:
    page = f'<html><head><meta charset="shift_jis"></head>{JAPANESE}'
    assert read(tmp_path / "f", page.encode("cp932"), None, markup=True) == ("cp932", page)
    assert read(tmp_path / "f", page.encode("euc_jp"), "euc-jp", markup=True) == ("euc_jp", page)
    old = f'<meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1">{GERMAN}'
    assert read(tmp_path / "f", old.encode("latin-1"), None, markup=True)[1] == old


def test_utf8_announced_as_latin1_is_utf8(tmp_path: Path) -> None:
    assert read(tmp_path / "f", GERMAN.encode(), "iso-8859-1") == ("utf-8", GERMAN)


def test_utf8_announced_as_another_charset_is_utf8(tmp_path: Path) -> None:
    assert read(tmp_path / "f", ("Größe " * 9).encode(), "gb18030") == ("utf-8", "Größe " * 9)
    assert read(tmp_path / "f", b"plain words!", "utf-16") == ("utf-8", "plain words!")


def test_an_unknown_or_wrong_charset_is_not_believed(tmp_path: Path) -> None:
    assert read(tmp_path / "f", GERMAN.encode(), "x-no-such") == ("utf-8", GERMAN)
    assert read(tmp_path / "f", GERMAN.encode(), "utf-7") == ("utf-8", GERMAN)
    assert read(tmp_path / "f", GERMAN.encode("cp1252"), "utf-8")[1] == GERMAN


def test_a_late_accent_in_a_long_ascii_file_is_found(tmp_path: Path) -> None:
    content = "plain words " * 60_000 + "naïve café"
    assert read(tmp_path / "f", content.encode()) == ("utf-8", content)


@pytest.mark.parametrize(
    ("codec", "content"), [("cp1252", GERMAN), ("cp1251", RUSSIAN), ("cp932", JAPANESE), ("euc_jp", JAPANESE)]
)
def test_undeclared_legacy_text_is_recognised(tmp_path: Path, codec: str, content: str) -> None:
    assert read(tmp_path / "f", content.encode(codec))[1] == content


def test_one_damaged_byte_does_not_spoil_a_utf8_file(tmp_path: Path) -> None:
    name, content = read(tmp_path / "f", (JAPANESE + "x").encode() + b"\xff" + JAPANESE.encode())
    assert (name, content) == ("utf-8", JAPANESE + "x\ufffd" + JAPANESE)


@given(st.binary(max_size=300), st.sampled_from([None, "utf-8", "shift_jis", "utf-16", "latin-1", "cp1252"]))
def test_any_bytes_give_text(tmp_path_factory: pytest.TempPathFactory, data: bytes, charset: str | None) -> None:
    path = tmp_path_factory.getbasetemp() / "any"
    name, content = read(path, data, charset)
    assert text.codec(name) == name
    assert isinstance(content, str)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\ufeff"), max_size=300))
def test_utf8_is_read_exactly(tmp_path_factory: pytest.TempPathFactory, content: str) -> None:
    path = tmp_path_factory.getbasetemp() / "utf8"
    name, read_back = read(path, ("text: " + content).encode(), "utf-8")
    assert read_back == "text: " + content or name != "utf-8"
