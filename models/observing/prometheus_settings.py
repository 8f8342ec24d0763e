"""Where Prometheus finds the metrics of a deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.observing.totals import Totals

if TYPE_CHECKING:
    from models.observing.prometheus import MetricsPage


@dataclass(frozen=True)
class PrometheusSettings:
    """The page with the metrics of each process.

    Attributes:
      port: the port of the page, 0 for any free one.
      deployment: the name of the deployment.
    """

    port: int
    deployment: str

    def open(self, totals: Totals) -> MetricsPage:
        """The page of this process, which the caller closes; raises MetricsPortError as `MetricsPage` does."""
        from models.observing.prometheus import MetricsPage

        return MetricsPage(totals, self.port, self.deployment)
