"""Promote, roll back and publish with a click, and who may not."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from tests.end_to_end.dashboard.conftest import NAME, TOKEN, OpenPage, Served
from tests.end_to_end.dashboard.test_accessibility import unlock

JSON = {"Content-Type": "application/json"}
ALLOWED = {**JSON, "Authorization": f"Bearer {TOKEN}"}
SWEETNESS = """<PMML xmlns="http://www.dmg.org/PMML-4_4" version="4.4"><Header/>
<DataDictionary><DataField name="x" optype="continuous" dataType="double"/>
<DataField name="y" optype="continuous" dataType="double"/></DataDictionary>
<RegressionModel functionName="regression">
<MiningSchema><MiningField name="x"/><MiningField name="y" usageType="target"/></MiningSchema>
<RegressionTable intercept="20"><NumericPredictor name="x" coefficient="-1.5"/></RegressionTable>
</RegressionModel></PMML>"""
PROMOTE = {"model": NAME, "version": 1}


def answer(served: Served, path: str, headers: Mapping[str, str], body: Any = PROMOTE) -> tuple[int, dict[str, Any]]:
    """The status and the content of the answer to a POST request."""
    where = urlsplit(served.dashboard.address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    try:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request("POST", path, content, dict(headers))
        got = connection.getresponse()
        return got.status, json.loads(got.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("headers", "status", "reason"),
    [
        (JSON, 401, "token is missing or wrong"),
        ({**JSON, "Authorization": "Bearer wrong"}, 401, "token is missing or wrong"),
        ({**JSON, "Authorization": f"Basic {TOKEN}"}, 401, "token is missing or wrong"),
        ({**JSON, "Authorization": f"Bearer {TOKEN}x"}, 401, "token is missing or wrong"),
        ({**ALLOWED, "Origin": "http://evil.example"}, 403, "from another page"),
        ({**ALLOWED, "Origin": "null"}, 403, "from another page"),
        ({**ALLOWED, "Sec-Fetch-Site": "cross-site"}, 403, "from another page"),
        ({**ALLOWED, "Host": "evil.example"}, 403, "--allowed-host evil.example"),
        ({**ALLOWED, "Content-Type": "text/plain"}, 403, "not JSON"),
    ],
    ids=["no token", "wrong", "other scheme", "longer", "origin", "null origin", "cross-site", "host", "form"],
)
def test_who_may_not_act_is_refused(served: Served, headers: dict[str, str], status: int, reason: str) -> None:
    before = served.catalog().position
    for action in ("promote", "rollback", "publish"):
        got, content = answer(served, f"/api/actions/{action}", headers)
        assert got == status
        assert reason in content["error"]
    assert served.catalog().position == before


@pytest.mark.parametrize(
    ("path", "body", "status", "reason"),
    [
        ("promote", {"model": NAME, "version": 99}, 409, "wine/99 is not in topic"),
        ("promote", {"model": NAME}, 400, "a version"),
        ("promote", [], 400, "not a JSON object"),
        ("promote", b"{", 400, "not JSON"),
        ("promote", b" " * 70_000, 400, "too large"),
        ("rollback", {"data_type": "unknown"}, 409, "no model answers 'unknown' records"),
        ("publish", {"name": "m", "type": "onnx"}, 400, "needs a location"),
        ("publish", {"name": "m", "type": "magic", "location": "/x"}, 400, "type is not one of"),
        ("retire", {}, 404, "no such action"),
    ],
    ids=lambda one: str(one)[:40],
)
def test_a_request_that_makes_no_sense_gets_a_reason(
    served: Served, path: str, body: Any, status: int, reason: str
) -> None:
    got, content = answer(served, f"/api/actions/{path}", ALLOWED, body)
    assert got == status
    assert reason in content["error"]


def test_without_the_token_there_is_nothing_to_click_and_a_wrong_one_unlocks_nothing(
    page: Page, opened: OpenPage
) -> None:
    expect(page.get_by_role("button", name="Promote")).to_have_count(0)
    page.get_by_role("button", name="Unlock actions").click()
    page.get_by_label("Token").fill("a wrong token that is long")
    page.get_by_role("button", name="Unlock", exact=True).click()
    expect(page.get_by_text("the token is missing or wrong")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Promote")).to_have_count(0)
    # The browser logs the refusal.
    assert "status of 401" in opened.errors.pop()


def test_a_click_promotes_a_version_and_another_one_rolls_back(page: Page, served: Served) -> None:
    unlock(page)

    def promote(label: str) -> None:
        page.get_by_role("button", name=f"Promote {label}").click()
        confirm(page, "Promote", f"{NAME}: live {label} 100 %")

    def arms() -> list[tuple[str, int | None]]:
        return [(arm.model, arm.version) for arm in served.catalog().routes[NAME].route.newest.arms]

    promote("wine/1")
    assert arms() == [(NAME, 1)]
    served.deployment.eventually(
        lambda: any(one.version == 1 for one in served.deployment.more_results()), "version 1 answers again"
    )
    expect(page.locator(".route")).to_contain_text(re.compile(r"wine/1\s*100 %"))
    promote("wine/2")
    assert arms() == [(NAME, 2)]
    page.get_by_role("button", name="Roll back").click()
    confirm(page, "Roll back", f"{NAME}: live wine/1 100 %")
    assert arms() == [(NAME, 1)]
    expect(page.locator(".route")).to_contain_text(re.compile(r"wine/1\s*100 %"))


def confirm(page: Page, verb: str, outcome: str) -> None:
    """Clicks the button of the open dialog, and closes it when it has reported the outcome."""
    dialog = page.get_by_role("dialog")
    dialog.get_by_role("button", name=verb, exact=True).click()
    expect(dialog.get_by_text(outcome)).to_be_visible(timeout=30_000)
    page.keyboard.press("Escape")


def test_a_model_is_checked_and_published_with_a_form(
    page: Page, opened: OpenPage, served: Served, tmp_path: Path
) -> None:
    model = tmp_path / "sweetness.pmml"
    model.write_text(SWEETNESS, encoding="utf-8")
    unlock(page)
    page.get_by_role("button", name="Publish a model").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name").fill("sweetness")
    dialog.locator("select[name=type]").select_option("pmml")
    dialog.get_by_label("Location").fill(str(model))
    dialog.get_by_label("Data type").fill(NAME)
    dialog.get_by_label("Inputs, one a line").fill("nonsense")
    dialog.get_by_role("button", name="Publish").click()
    expect(dialog.get_by_text("--input 'nonsense' is not NAME=FIELD")).to_be_visible(timeout=60_000)
    # The browser logs the refusal.
    assert "status of 409" in opened.errors.pop()
    dialog.get_by_label("Inputs, one a line").fill("x=alcohol\n")
    dialog.get_by_role("button", name="Publish").click()
    expect(dialog.get_by_text("sweetness: version 1 is published but not live")).to_be_visible(timeout=150_000)
    found = served.catalog().versions["sweetness", 1].descriptor
    assert (found.model_source_location, dict(found.inputs), found.data_type) == (str(model), {"x": ("alcohol",)}, NAME)
    assert not served.catalog().live("sweetness")
