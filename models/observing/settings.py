"""Who is told what a deployment measures."""

from __future__ import annotations

from dataclasses import dataclass

from models.observing.observation import Exporter, Observation
from models.observing.totals import Totals


@dataclass(frozen=True)
class ObservationSettings:
    """Who is told what a deployment measures. The sums are always kept; they cost next to nothing.

    Attributes:
      metrics_port: the port of the page for Prometheus, 0 for any free one; None for no page.
    """

    metrics_port: int | None = None

    def open(self) -> Observation:
        """The observation of this process, which the caller closes.

        Raises:
          MetricsPortError: the port of the page is in use.
        """
        totals = Totals()
        exporters: list[Exporter] = []
        if self.metrics_port is not None:
            from models.observing.prometheus import MetricsServer

            exporters.append(MetricsServer(totals, self.metrics_port))
        return Observation(totals, exporters)
