"""Where lineage is reported, and what of the deployment is in it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from models.errors import OptionsError
from models.extras import extras_named
from models.observing.lineage.job import LineageJob
from models.observing.observation import Exporter
from models.observing.totals import Totals

API_KEY_VARIABLE = "OPENLINEAGE_API_KEY"


@dataclass(frozen=True)
class LineageSettings:
    """Where lineage is reported, and what of the deployment is in it.

    Attributes:
      url: the address of the endpoint, without the path of its API.
      job: the deployment.
    """

    url: str
    job: LineageJob

    def check(self) -> None:
        """Checks the address without calling it.

        Raises:
          OptionsError: the address is malformed, or contains a password.
          MissingExtraError: the client is not installed.
        """
        try:
            parts = urlsplit(self.url)
            complete = parts.scheme in ("http", "https") and bool(parts.hostname)
        except ValueError:
            complete = False
        if not complete:
            raise OptionsError("--openlineage-url is not an address such as http://marquez:5000")
        if parts.username is not None or parts.password is not None:
            raise OptionsError(
                f"--openlineage-url must not contain a user or password; workers send the API key in {API_KEY_VARIABLE}"
            )
        with extras_named():
            import models.observing.lineage.endpoint  # noqa: F401

    def open(self, totals: Totals) -> Exporter:
        """The reporter of this process, which the caller closes; raises MissingExtraError like `check`."""
        with extras_named():
            from models.observing.lineage.endpoint import LineageEndpoint
            from models.observing.lineage.reporter import LineageReporter

            return LineageReporter(self.job, totals, LineageEndpoint(self.url, os.environ.get(API_KEY_VARIABLE)))
