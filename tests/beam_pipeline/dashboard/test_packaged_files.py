"""The files of other projects that the page consists of are unchanged, and their licences are beside them."""

from __future__ import annotations

from hashlib import sha256

from beam_pipeline.dashboard.application import STATIC

VENDOR = STATIC / "vendor"


def test_they_have_the_listed_digests() -> None:
    lines = [line.split() for line in (VENDOR / "SHA256SUMS").read_text().splitlines()]
    listed = {name: digest for digest, name in lines}
    found = {path.name: sha256(path.read_bytes()).hexdigest() for path in VENDOR.glob("*.*") if path.suffix != ".txt"}
    assert found == listed


def test_each_is_named_with_its_licence() -> None:
    text = (VENDOR / "LICENSES.txt").read_text(encoding="utf-8")
    assert all(f"/{path.name}" in text for path in VENDOR.glob("*.*") if path.suffix in (".js", ".css"))
    assert all(licence in text for licence in ("MIT License", "Apache License"))


def test_the_page_names_no_other_server() -> None:
    own = [path for path in STATIC.iterdir() if path.suffix in (".html", ".js", ".css")]
    assert len(own) > 5
    assert [path.name for path in own if "http://" in path.read_text() or "https://" in path.read_text()] == []
