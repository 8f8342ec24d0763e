"""Where metrics and traces go over OTLP."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from models.errors import OptionsError
from models.extras import extras_named
from models.observing.observation import Exporter
from models.observing.totals import Totals
from models.observing.tracing import NO_TRACING, Tracing


@dataclass(frozen=True)
class OtlpSettings:
    """Where metrics and traces go over OTLP.

    Attributes:
      endpoint: the base address of the receiver, such as http://localhost:4318.
      service: the name of the deployment, which is its consumer group.
      trace_share: the share of records without a trace context with which a trace begins, from 0 to 1.
    """

    endpoint: str
    service: str
    trace_share: float = 0.0

    def check(self) -> None:
        """Checks what can be checked without the receiver.

        Raises:
          OptionsError: the endpoint is not an address.
          MissingExtraError: the clients of OpenTelemetry are not installed.
        """
        try:
            address = urlsplit(self.endpoint)
            named = address.scheme in ("http", "https") and address.hostname and address.port != 0
        except ValueError:
            named = False
        if not named or address.username or address.query or address.fragment:
            # An address with a password would be in the job's graph; it is not repeated here either.
            raise OptionsError("--otlp-endpoint is not http[s]://HOST[:PORT][/PATH], such as http://localhost:4318")
        with extras_named():
            import models.observing.telemetry  # noqa: F401

    def exporters(self, totals: Totals) -> list[Exporter]:
        """Those who push the sums of this process: one, or none if the environment switches metrics off."""
        with extras_named():
            from models.observing import telemetry
        on = telemetry.is_on("metrics")
        return [telemetry.push_metrics(totals, self.endpoint, self.service)] if on else []

    def tracing(self) -> Tracing:
        """Opens the spans of this process; none if the environment switches traces off."""
        with extras_named():
            from models.observing import telemetry
        on = telemetry.is_on("traces")
        return telemetry.OtlpTracing(self.endpoint, self.service, self.trace_share) if on else NO_TRACING
