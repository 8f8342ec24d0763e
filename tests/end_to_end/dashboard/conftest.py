"""A deployment whose model was swapped, its dashboard, and a browser, for all tests of this folder.

The tests of `test_what_clicks_change.py` come last, because they change what the deployment serves.
"""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page

from beam_pipeline.publishing.record_generators import wine
from models.kafka.client import KafkaSettings
from models.model_topic.catalog import ModelCatalog
from runners.local.kafka_broker import LocalBroker
from tests.browser import running_browser
from tests.end_to_end.conftest import make_deployment
from tests.end_to_end.dashboard.dashboard_process import DashboardProcess
from tests.end_to_end.deployment import Deployment
from tests.saved_models import save_garbage

NAME = "wine"
INPUTS = {"x": ("alcohol",)}
TOKEN = "correct-horse-battery-staple"
HOSTILE = b"<script>document.title = 'taken over'</script>"
RATE = 200
DRIFT = (
    b'{"at": %d, "model": "wine", "version": 2, "field": "alcohol", "kind": "feature", "measure": "psi", '
    b'"value": 0.41, "limit": 0.2}'
)


@dataclass
class Served:
    """What the tests of this folder look at.

    Attributes:
      deployment: answers wine records with version 1, then 2; version 3 is not a model.
      dashboard: its dashboard, with actions.
    """

    deployment: Deployment
    dashboard: DashboardProcess

    def catalog(self) -> ModelCatalog:
        """What the models topic contains now."""
        return self.deployment.models.read()


@dataclass
class OpenPage:
    """A page of the dashboard, and what went wrong in it.

    Attributes:
      page: the page.
      errors: the errors of scripts and of the console.
      elsewhere: requests to other servers.
    """

    page: Page
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def open(self, address: str) -> Page:
        """Opens the dashboard, and waits until it shows figures."""

        def note(url: str) -> None:
            if not url.startswith((address, "data:")):
                self.elsewhere.append(url)

        self.page.on("request", lambda request: note(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda one: self.errors.append(one.text) if one.type == "error" else None)
        self.page.goto(address)
        self.page.wait_for_selector(".figures")
        return self.page


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with running_browser() as running:
        yield running


@pytest.fixture(scope="package")
def served(
    broker: LocalBroker,
    prism_location: Path,
    version_model: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("dashboard")
    deployment = make_deployment(KafkaSettings(broker.bootstrap_servers), prism_location, NAME, folder)
    deployment.make_topic("drift")
    done = threading.Event()
    sender = threading.Thread(target=_send, args=(deployment, done))
    dashboard: DashboardProcess | None = None
    try:
        deployment.publish(NAME, version_model(1), INPUTS, inline=False)
        deployment.start()
        dashboard = start_dashboard(deployment, folder)
        sender.start()
        deployment.status("serving", NAME, 1)
        deployment.eventually(lambda: any(one.version == 1 for one in deployment.more_results()), "version 1 answers")
        deployment.publish(NAME, version_model(2), INPUTS)
        deployment.eventually(lambda: any(one.version == 2 for one in deployment.more_results()), "version 2 answers")
        deployment.publish(NAME, save_garbage(folder / "garbage"), INPUTS, inline=False)
        deployment.status("failed", NAME, 3)
        deployment.dead_letters(deployment.send_bytes([HOSTILE]))
        deployment.send_bytes([DRIFT % (time.time() * 1000), b"garbage"], kind="drift")
        # Like every event of the drift topic and every label, one of the status topic may be anything.
        deployment.send_bytes([b'{"kind": "serving", "at": 1, "worker": ["w1"]}', HOSTILE], b"w1", kind="status")
        yield Served(deployment, dashboard)
    finally:
        done.set()
        if sender.ident is not None:
            sender.join()
        if dashboard is not None:
            dashboard.close()
        deployment.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    opened = browser.new_context(viewport={"width": 1440, "height": 900})
    yield opened
    opened.close()


@pytest.fixture
def opened(context: BrowserContext) -> Iterator[OpenPage]:
    """A page in the browser; afterwards nothing must have gone wrong in it."""
    opened = OpenPage(context.new_page())
    yield opened
    assert opened.errors == []
    assert opened.elsewhere == []


@pytest.fixture
def page(opened: OpenPage, served: Served) -> Page:
    """The dashboard in the browser."""
    return opened.open(served.dashboard.address)


def start_dashboard(deployment: Deployment, folder: Path) -> DashboardProcess:
    """Starts a dashboard of the deployment, whose files go into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    token = folder / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    options = {
        "bootstrap-servers": deployment.kafka.bootstrap_servers,
        "records-topic": deployment.topic("records"),
        "models-topic": deployment.topic("models"),
        "results-topic": deployment.topic("results"),
        "dead-letter-topic": deployment.topic("dead-letters"),
        "status-topic": deployment.topic("status"),
        "record-schema": deployment.schema.name,
    }
    drift = deployment.topic("drift")
    return DashboardProcess(options, folder, ["--actions", "--token-file", str(token), "--drift-topic", drift])


def _send(deployment: Deployment, done: threading.Event) -> None:
    """Sends about `RATE` records a second."""
    records = (deployment.schema.codec.encode(one.row) for one in wine(1))
    while not done.wait(0.05):
        deployment.send_bytes(list(itertools.islice(records, RATE // 20)), key=b"lot")
