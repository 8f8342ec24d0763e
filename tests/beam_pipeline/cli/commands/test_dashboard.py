"""The arguments of `beam-serving dashboard`; tests/end_to_end/dashboard looks at the page."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from beam_pipeline.cli.command_line import main
from beam_pipeline.cli.commands.dashboard import TOKEN_VARIABLE
from runners.local.kafka_broker import LocalBroker
from tests.conftest import MakeTopic
from tests.end_to_end.dashboard.dashboard_process import DashboardProcess

TOPICS = [
    "--bootstrap-servers",
    "localhost:1",
    "--models-topic",
    "m",
    "--results-topic",
    "r",
    "--record-schema",
    "wine",
]


def refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The reason why a command line is refused."""
    assert main(["dashboard", *TOPICS, *words]) == 2
    return capsys.readouterr().err


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)


def test_actions_need_a_token_that_is_long_and_private(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert f"set {TOKEN_VARIABLE}" in refused(capsys, "--actions")
    monkeypatch.setenv(TOKEN_VARIABLE, "short")
    assert "at least 16" in refused(capsys, "--actions")
    token = tmp_path / "token"
    assert "No such file" in refused(capsys, "--actions", "--token-file", str(token))
    token.write_text("x" * 20)
    token.chmod(0o644)
    assert f"chmod 600 {token}" in refused(capsys, "--actions", "--token-file", str(token))
    token.chmod(0o600)
    assert "needs --actions" in refused(capsys, "--token-file", str(token))


def test_an_address_that_is_taken_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"cannot listen at --host 127.0.0.1 --port {port}" in refused(capsys, "--port", port)
    assert "--port 99999 is not a port" in refused(capsys, "--port", "99999")


def test_missing_topics_are_named_and_actions_are_off_until_a_signal_ends_it(
    broker: LocalBroker, make_topic: MakeTopic, topic_names: Callable[[str], str], tmp_path: Path
) -> None:
    options = {
        "bootstrap-servers": broker.bootstrap_servers,
        "models-topic": topic_names("models"),
        "results-topic": make_topic(topic_names("results")),
        "record-schema": "wine",
    }
    dashboard = DashboardProcess(options, tmp_path)
    where = urlsplit(dashboard.address)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=60)
    try:
        connection.request(
            "POST", "/api/session", b"{}", {"Content-Type": "application/json", "Authorization": "Bearer "}
        )
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["error"]) == (
            403,
            "actions are off: start the dashboard with --actions",
        )
        connection.request("GET", "/api/events")
        events = connection.getresponse()
        assert events.getheader("Content-Security-Policy", "").startswith("default-src 'none'; script-src 'self'")
        sections: dict[str, object] = {}
        while not sections.get("problems"):
            name = events.readline().decode().strip().removeprefix("event: ")
            content = events.readline().decode().strip()
            if content.startswith("data: "):
                sections[name] = json.loads(content.removeprefix("data: "))
                events.readline()
        assert "does not exist yet" in str(sections["problems"])
        # Panels without a topic are left out.
        assert not {"letters", "workers", "refusals", "drift"} & sections.keys()
        # It ends although the stream of events is open.
        assert dashboard.stop() == 0
    finally:
        connection.close()
        dashboard.close()
