"""The page in a real browser, beside a real pipeline whose model was swapped."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from beam_pipeline.publishing.record_generators import wine
from tests.end_to_end.dashboard.conftest import HOSTILE, NAME, RATE, Served

VERSIONS = ("wine/1", "wine/2")


def panel(page: Page, title: str) -> str:
    """The text of a panel."""
    return page.locator("section.panel", has=page.get_by_role("heading", name=title, exact=True)).inner_text()


def test_both_versions_are_in_the_chart_and_the_swap_is_between_their_seconds(page: Page) -> None:
    legend = page.locator("section.panel", has_text="which version answered when").locator(".legend")
    for version in VERSIONS:
        expect(legend).to_contain_text(version)
    # The values at the keyboard's place in the chart, from its beginning to its end.
    chart = page.get_by_role("slider", name="Results a second")
    chart.focus()
    chart.press("Home")
    expect(chart).to_have_attribute("aria-valuenow", "0")
    seen = [_rates(chart.get_attribute("aria-valuetext") or "")]
    for _ in range(int(chart.get_attribute("aria-valuemax") or 0)):
        chart.press("ArrowRight")
        seen.append(_rates(chart.get_attribute("aria-valuetext") or ""))
    first = [place for place, rates in enumerate(seen) if rates.get("wine/1", 0) > 0]
    second = [place for place, rates in enumerate(seen) if rates.get("wine/2", 0) > 0]
    assert first
    assert second
    assert min(first) < min(second) <= max(first) + 2
    steady = [sum(rates.values()) for rates in seen[min(second) + 3 : -1]]
    assert sorted(steady)[len(steady) // 2] > RATE / 4


def _rates(text: str) -> dict[str, float]:
    found = re.findall(r"(\S+/\d+|no model) ([\d,]+) a second", text)
    return {name: float(number.replace(",", "")) for name, number in found}


def test_the_panels_show_what_the_topics_say(page: Page, served: Served) -> None:
    assert re.search(r"wine/2\s+previous\s+serving", panel(page, "Models"))
    assert re.search(r"wine/3\s+live\s+failed", panel(page, "Models"))
    assert "wine/3 refused" in panel(page, "Refused models")
    assert "saved_model.pb is not a SavedModel" in panel(page, "Refused models")
    assert "wine/3" in panel(page, "Routes")
    assert f"{NAME} version 2 is live, after version 1" in panel(page, "Changes")
    assert "not loaded: wine/3" in panel(page, "Workers")
    assert "1 process; 2 events could not be decoded" in panel(page, "Workers")
    assert re.search(r"wine/2\s+alcohol feature\s+psi\s+0.41\s+0.2", panel(page, "Drift"))
    assert "1 could not be decoded" in panel(page, "Drift")
    predictions = panel(page, "Predictions")
    assert "version by version" in predictions
    assert all(version in predictions for version in VERSIONS)
    expect(page.locator(".figures")).to_contain_text(
        "wine/2", timeout=30_000
    )  # once version 1 has not answered for 10 s
    expect(page.locator(".problems")).to_have_count(0)


def test_latency_is_the_time_from_record_to_result(page: Page) -> None:
    chart = page.get_by_role("slider", name="Latency")
    expect(chart).to_have_attribute("aria-valuetext", re.compile(r"99th percentile [\d.]+ m?s, median [\d.]+ m?s"))


def test_a_dead_letter_is_shown_with_its_payload_as_text_and_bytes(page: Page) -> None:
    page.get_by_role("button", name="Show the dead letter of records-").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_label("Payload as text")).to_have_text(HOSTILE.decode())
    expect(dialog.get_by_label("Payload as bytes")).to_contain_text("3c 73 63 72 69 70 74")
    # What came in the topic is text, and nothing of it was executed.
    assert page.title() == "beam-serving"
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_result_is_followed_from_its_record_to_its_model(page: Page, served: Served) -> None:
    (result,) = served.deployment.results_of(served.deployment.send([_row()], key=b"followed"))
    partition, offset = 0, _offset_of(served, result.metadata["offset"])
    page.get_by_label("Partition and offset of a result").fill(
        f"{served.deployment.topic('results')}:{partition}:{offset}"
    )
    page.get_by_role("button", name="Follow", exact=True).click()
    dialog = page.get_by_role("dialog")
    steps = dialog.locator(".step")
    expect(steps).to_have_count(5)
    record, route, model, call, outcome = steps.all_inner_texts()
    assert f"{served.deployment.topic('records')}-0@{result.metadata['offset']}" in record
    assert "followed" in record
    assert '"alcohol": 12.5' in record
    assert "no route" in route
    assert "wine/2" in model
    assert result.metadata["digest"] in model
    assert "x = alcohol" in model
    assert str(result.metadata["batchSize"]) in call
    assert re.search(r"version\s+\[.*\]\s+2", outcome)


def _row() -> dict[str, object]:
    return {**next(wine(3)).row, "alcohol": 12.5}


def _offset_of(served: Served, record: int) -> int:
    """The offset of the result of a record in the results topic."""
    messages = served.deployment._results_tail.messages
    places = [place for place, one in enumerate(served.deployment.results()) if one.metadata["offset"] == record]
    return int(messages[places[0]].offset())
