"""One class per failure; each message names what failed and how to fix it."""

from __future__ import annotations

from typing import ClassVar


class ServingError(Exception):
    """Base class of all errors that this application raises deliberately.

    Attributes:
      kind: the kind of an error for metrics, the same for all errors that call for the same remedy.
    """

    kind: ClassVar[str] = "other"


class SchemaError(ServingError):
    """A record schema cannot be read, or is not an Avro record."""


class UnknownSchemaError(SchemaError):
    """A schema registry has no schema of that id, GUID or subject."""


class RegistryUnreachableError(ServingError):
    """A schema registry did not answer within the time that was given."""


class DescriptorError(ServingError):
    """A message of the models topic is neither a descriptor nor a pointer, or contradicts itself."""


class RouteError(DescriptorError):
    """A route contradicts itself, or names what does not exist."""


class FeedbackError(ServingError):
    """A message of the feedback topic is malformed."""


class StatusEventError(ServingError):
    """A message of the status topic is not a status event."""


class ConditionError(RouteError):
    """A condition of a route cannot be read, or cannot be applied to the fields of the records."""

    kind = "condition"


class MappingError(ServingError):
    """Neither a field of the same name nor the descriptor's mapping can fill a model input."""

    kind = "mapping"


class FieldValueError(ServingError):
    """The value of a field of one record does not fit the model input that it fills."""

    kind = "field_value"


class ModelLoadError(ServingError):
    """A model could not be fetched, opened or warmed up."""


class ModelNotLoadedError(ServingError):
    """A model that records must be scored with was not loaded in time, or cannot be loaded."""

    kind = "not_loaded"


class DigestMismatchError(ModelLoadError):
    """The fetched bytes differ from the published ones."""


class JavaMachineError(ModelLoadError):
    """Java, which the model needs, cannot be used in this process."""


class JarsMissingError(ModelLoadError):
    """The jars that a scorer needs are missing, incomplete or not those that are expected."""


class UnknownModelTypeError(ModelLoadError):
    """No scorer serves the descriptor's modelType."""


class EntryPointError(ModelLoadError):
    """What a model needs of another package is not installed, or its entry point is broken."""


class ScorerEntryPointError(EntryPointError):
    """The entry point by which another package claims a modelType is broken, or claims what is taken."""


class MissingExtraError(ModelLoadError):
    """A Python package that a model needs is missing; an extra of beam-serving installs it."""


class MissingProgramError(ModelLoadError):
    """A program that fetching a model needs is missing on this machine."""


class HttpStatusError(ModelLoadError):
    """A server of models answered a request with an error.

    Attributes:
      status: of the answer; 0 if it is not known any more.
      challenge: how the server wants to be told who asks (WWW-Authenticate); empty if it does not say.
    """

    def __init__(self, message: str, status: int = 0, challenge: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.challenge = challenge


class PickleRefusedError(ModelLoadError):
    """A model is a pickle, and the deployment does not allow it by name."""


class AdmissionError(ModelLoadError):
    """A model may not serve: it is too large or slow, or its answers are not the expected ones."""


class ScorerOptionError(ModelLoadError):
    """An option of the descriptor is unknown to its scorer, or has an invalid value."""


class ScoringError(ServingError):
    """A call of a model failed; the text is that of the model or its server."""

    kind = "scoring"


class ModelUnreachableError(ScoringError):
    """The model's server cannot be reached or did not answer in time, so trying other records would not help."""

    kind = "unreachable"


class BatchDeadlineError(ModelUnreachableError):
    """The time limit for all calls of one batch expired before all of its records were scored."""

    kind = "deadline"


class ModelsTopicError(ServingError):
    """The models topic cannot be used as it is: missing, partitioned, or not reachable."""


class ModelsTopicCutError(ModelsTopicError):
    """Messages that the models topic contained before are gone: it was recreated or truncated."""


class ModelsNotFollowedError(ServingError):
    """Model updates no longer reach this worker, so the models that it serves would silently become outdated."""


class OffsetsNotCommittedError(ServingError):
    """The thread that commits offsets has ended, so the next start would score the same records again."""


class PublishError(ServingError):
    """A model was not published; the message gives the reason and the remedy."""


class FenceLateError(ServingError):
    """A route was published, but readers saw it too late for its fence.

    Attributes:
      fence: the route holds for records from then on, in milliseconds since 1970-01-01 UTC.
      until: records from the fence to this moment may have been answered by the route before.
    """

    def __init__(self, data_type: str, fence: int, until: int) -> None:
        super().__init__(
            f"the new route of {data_type!r} holds, but workers could read it only late: records with timestamps from "
            f"{fence} to {until} (milliseconds since 1970-01-01 UTC) may have been answered by the route before; with "
            "a longer --fence, a slow broker does no harm"
        )
        self.fence = fence
        self.until = until


class RehearsalError(ServingError):
    """A version cannot be rehearsed: it is unknown, answers already, or there are no records for it."""


class ExplanationError(ServingError):
    """An answer cannot be explained; the message gives the reason."""


class GradientsError(ExplanationError):
    """The gradients of a model cannot be computed."""


class MetricsPortError(ServingError):
    """The port of the page for Prometheus cannot be opened."""


class OptionsError(ServingError):
    """A command line option or a configuration key is missing, unknown or malformed."""


class KafkaUnreachableError(ServingError):
    """No broker answered within the timeout."""


class OffsetGapError(ServingError):
    """Records between the position to resume from and the first available one are gone."""


class TopicError(ServingError):
    """A topic is missing and cannot be created."""


class TopicForbiddenError(TopicError):
    """The brokers do not let this user see or read a topic."""

    @classmethod
    def of(cls, topic: str) -> TopicForbiddenError:
        """The error for a topic, with the commands that grant access."""
        return cls(
            f"topic {topic!r} may not be read by this user: allow the operations Describe and Read on it "
            f"(kafka-acls --add --allow-principal User:NAME --operation Describe --operation Read --topic {topic})"
        )


class PipelineFailedError(ServingError):
    """A pipeline that should run until it is stopped ended on its own."""


class SecretUnavailableError(ServingError):
    """A secret that a setting refers to cannot be read with the credentials of this process."""


class TokenUnavailableError(ServingError):
    """Google did not issue an access token for the Kafka brokers."""


class CloudResourceError(ServingError):
    """A Google Cloud project, region, bucket or job does not exist, or this process has no access to it."""


class DemoMissingError(ServingError):
    """The demo is not part of the installed package."""


class WheelError(ServingError):
    """The application's wheel, which workers need, cannot be built on this machine."""


class FlinkUnreachableError(ServingError):
    """No Flink cluster answers at the given address."""


class FlinkJobError(ServingError):
    """A Flink cluster cannot run a job, or did not carry out a request about one."""


class KubernetesError(ServingError):
    """The API server of Kubernetes cannot be reached, or refuses a request."""
