"""The dashboard and the alert rules ask only for metrics and labels that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from longfold_server.metrics import Metrics

FOLDER = Path(__file__).parents[3] / "deploy" / "observability"
ADDED = {"namespace", "instance", "le"}
"""Labels that Prometheus or a histogram adds."""
NAME = re.compile(r"\blongfold_[a-z_]+")
MATCHERS = re.compile(r"(longfold_[a-z_]+)\{([^}]*)\}")
GROUPED = re.compile(r"\b(?:by|on) \(([^)]*)\)")


def samples() -> dict[str, set[str]]:
    """Sample name -> its own labels."""
    found: dict[str, set[str]] = {}
    for family in Metrics().registry.collect():
        kinds = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum")}.get(family.type, ("",))
        [metric] = [one for one in vars(Metrics()).values() if getattr(one, "_name", None) == family.name]
        found |= {family.name + kind: set(metric._labelnames) for kind in kinds}
    return found


def dashboard() -> dict[str, Any]:
    return dict(json.loads((FOLDER / "dashboard.json").read_text("utf-8")))


def rules() -> list[dict[str, Any]]:
    [group] = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))["groups"]
    return list(group["rules"])


def queries() -> list[str]:
    asked = [target["expr"] for panel in dashboard()["panels"] for target in panel.get("targets", [])]
    asked += [one["definition"] for one in dashboard()["templating"]["list"] if "definition" in one]
    return asked + [rule["expr"] for rule in rules()]


@pytest.mark.parametrize("query", queries())
def test_queries_name_what_there_is(query: str) -> None:
    known = samples()
    names = NAME.findall(query)
    assert names and set(names) <= set(known), set(names) - set(known)
    for name, matchers in MATCHERS.findall(query):
        assert set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers)) <= known[name] | ADDED
    own = set().union(*(known[name] for name in names))
    for labels in GROUPED.findall(query):
        assert {label.strip() for label in labels.split(",")} <= own | ADDED
    assert query.count("(") == query.count(")") and query.count("{") == query.count("}")


def test_every_metric_is_shown() -> None:
    shown = {name.removesuffix("_bucket") for query in queries() for name in NAME.findall(query)}
    every = {re.sub("_(bucket|count|sum)$", "", name) for name in samples()}
    assert every == shown


def test_every_metric_and_alert_is_documented() -> None:
    text = (FOLDER.parents[1] / "docs" / "operations.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `(longfold_\w+)` \| ([^|]*)\|", text, re.MULTILINE))
    assert set(rows) == {re.sub("_(bucket|count|sum)$", "", name) for name in samples()}
    for name, labels in rows.items():
        assert set(re.findall(r"`(\w+)`", labels)) == samples().get(name, samples().get(f"{name}_count"))
    assert set(re.findall(r"`(Longfold\w+)`", text)) == {rule["alert"] for rule in rules()}


def test_legends_use_labels_that_the_query_keeps() -> None:
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", []):
            kept = {label.strip() for labels in GROUPED.findall(target["expr"]) for label in labels.split(",")} | ADDED
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= kept, panel["title"]


def test_panels_stand_beside_each_other() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {(at["x"] + x, at["y"] + y) for x in range(at["w"]) for y in range(at["h"])}
        assert at["x"] + at["w"] <= 24 and not cells & taken, panel["title"]
        taken |= cells


def test_alerts_say_what_to_do() -> None:
    names = [rule["alert"] for rule in rules()]
    assert len(set(names)) == len(names)
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"] and rule["annotations"]["action"]
