"""Readable by everyone: axe finds nothing, in light and dark and on a phone, and the keyboard reaches everything."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser import violations
from tests.end_to_end.dashboard.conftest import TOKEN, OpenPage, Served

WIDE, PHONE = (1440, 900), (390, 844)
FOCUSABLE = "a[href], button:not(:disabled), input, select, textarea, [tabindex='0']"
Open = Callable[[Page], None]


def nothing(_: Page) -> None:
    """Only the page itself."""


def dead_letter(page: Page) -> None:
    page.get_by_role("button", name="Show the dead letter of records-").first.click()
    page.get_by_role("dialog").get_by_label("Payload as bytes").wait_for()


def followed_result(page: Page) -> None:
    page.get_by_role("button", name="Follow the result of").first.click()
    page.get_by_role("dialog").locator(".step").first.wait_for()


def publication(page: Page) -> None:
    unlock(page)
    page.get_by_role("button", name="Publish a model").click()
    page.get_by_role("dialog").get_by_label("Location").wait_for()


def unlock(page: Page) -> None:
    page.get_by_role("button", name="Unlock actions").click()
    page.get_by_label("Token").fill(TOKEN)
    page.get_by_role("button", name="Unlock", exact=True).click()
    page.get_by_role("button", name="Lock actions").wait_for()


DIALOGS = (dead_letter, followed_result, publication)


@pytest.mark.parametrize(
    ("scheme", "size", "shown"),
    [
        ("light", WIDE, (nothing, *DIALOGS)),
        ("light", PHONE, (nothing,)),
        ("dark", WIDE, (nothing,)),
        ("dark", PHONE, (nothing, *DIALOGS)),
    ],
    ids=["light-wide", "light-phone", "dark-wide", "dark-phone"],
)
def test_axe_finds_nothing(
    browser: Browser, served: Served, scheme: str, size: tuple[int, int], shown: tuple[Open, ...]
) -> None:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark" if scheme == "dark" else "light",
        reduced_motion="reduce",
    )
    try:
        opened = OpenPage(context.new_page())
        page = opened.open(served.dashboard.address)
        found = {}
        for show in shown:
            show(page)
            found[show.__name__] = violations(page)
            page.keyboard.press("Escape")
        assert found == {name: [] for name in found}
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], "the page scrolls sideways"
        assert page.evaluate("document.documentElement.dataset.theme") == scheme
    finally:
        context.close()


def test_the_keyboard_reaches_everything_and_operates_it(page: Page) -> None:
    unlock(page)
    # While a result has the focus, the list of results stands still.
    page.get_by_role("button", name="Follow the result of").first.focus()
    expect(page.get_by_text("paused while you choose")).to_be_visible()
    wanted = page.locator(f"{FOCUSABLE}").count()
    page.evaluate("document.activeElement.blur(); document.body.focus(); globalThis.reached = new Set()")
    page.get_by_role("button", name="Theme").focus()
    for _ in range(2 * wanted + 10):
        page.evaluate("reached.add(document.activeElement)")
        page.keyboard.press("Tab")
    missed = page.evaluate(
        "selector => [...document.querySelectorAll(selector)].filter((one) => !reached.has(one))"
        ".map((one) => one.outerHTML.slice(0, 120))",
        FOCUSABLE,
    )
    # The list of results moves on whenever the focus leaves it.
    assert [one for one in missed if "Follow the result of" not in one] == []
    page.get_by_role("button", name="Show the dead letter of").first.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_role("button", name="Show the dead letter of").first).to_be_focused()


def test_the_theme_can_be_chosen_and_is_kept(page: Page) -> None:
    page.get_by_role("button", name="Theme").click()
    page.reload()
    page.wait_for_selector(".figures")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
