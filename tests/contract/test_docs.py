"""The documents under docs/ name every code, every setting and every reason to leave something out."""

import re
from pathlib import Path

from longfold_client.errors import HINTS
from longfold_server.codes import Code, status_of
from longfold_server.ingest.index import Reason
from longfold_server.settings import Settings

DOCS = Path(__file__).parents[2] / "docs"


def test_every_code_is_documented_with_its_status() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \|", (DOCS / "errors.md").read_text(), re.MULTILINE)
    assert {(name, int(status)) for name, status in rows} == {(code.value, status_of(code)) for code in Code}


def test_hints_are_for_codes_that_exist_and_every_document_can_be_helped() -> None:
    codes = {code.value for code in Code}
    assert set(HINTS) <= codes
    assert {code for code in codes if code.startswith("document_")} <= set(HINTS)


def test_every_setting_is_documented() -> None:
    names = re.findall(r"^\| `LONGFOLD_(\w+)` \|", (DOCS / "settings.md").read_text(), re.MULTILINE)
    assert sorted(name.lower() for name in names) == sorted(Settings.model_fields)


def test_every_reason_to_leave_a_part_out_is_documented() -> None:
    text = (DOCS / "documents.md").read_text().partition("### What is left out")[2]
    assert sorted(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)) == sorted(Reason)
