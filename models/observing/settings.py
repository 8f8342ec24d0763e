"""Who is told what a deployment measures."""

from __future__ import annotations

from dataclasses import dataclass

from models.observing.drift.settings import DriftSettings
from models.observing.lineage.settings import LineageSettings
from models.observing.observation import AnswerListener, Exporter, LabelListener, Observation
from models.observing.otlp_settings import OtlpSettings
from models.observing.payloads.settings import PayloadSettings
from models.observing.prometheus_settings import PrometheusSettings
from models.observing.totals import Totals
from models.observing.tracing import NO_TRACING


@dataclass(frozen=True)
class ObservationSettings:
    """Who is told what a deployment measures. The sums are always kept; they cost next to nothing.

    Attributes:
      prometheus: the page for Prometheus; None for no page.
      payloads: which requests and answers are logged; None for none.
      lineage: where lineage is reported; None if it is not.
      otlp: where metrics and traces go over OTLP; None for nowhere.
      drift: how the deployment watches for drift; None if it does not.
    """

    prometheus: PrometheusSettings | None = None
    payloads: PayloadSettings | None = None
    lineage: LineageSettings | None = None
    otlp: OtlpSettings | None = None
    drift: DriftSettings | None = None

    def open(self) -> Observation:
        """The observation of this process, which the caller closes.

        Raises:
          MetricsPortError: the port of the page is in use, and not by a process of the same deployment.
          MissingExtraError: a package of an optional part is missing here.
        """
        totals = Totals()
        exporters: list[Exporter] = []
        listeners: list[AnswerListener] = []
        if self.prometheus is not None:
            exporters.append(self.prometheus.open(totals))
        if self.payloads is not None:
            listeners.append(self.payloads.open(totals))
        if self.lineage is not None:
            exporters.append(self.lineage.open(totals))
        labels: list[LabelListener] = []
        if self.drift is not None:
            from models.observing.drift.listener import DriftListener

            watching = DriftListener(self.drift)
            listeners.append(watching)
            labels.append(watching)
        if self.otlp is None:
            return Observation(totals, exporters, listeners, NO_TRACING, labels)
        exporters += self.otlp.exporters(totals)
        return Observation(totals, exporters, listeners, self.otlp.tracing(), labels)
