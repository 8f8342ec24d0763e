"""One class per failure; each message names the thing that failed and the remedy."""

from __future__ import annotations


class ServingError(Exception):
    """Base of every error that this application raises on purpose."""


class SchemaError(ServingError):
    """A record schema cannot be read, or is not an Avro record."""


class UnknownSchemaError(SchemaError):
    """A schema registry has no schema of that id, GUID or subject."""


class RegistryUnreachableError(ServingError):
    """A schema registry did not answer within the time that was given."""


class RecordDecodeError(ServingError):
    """The bytes of one record do not follow the record schema."""


class DescriptorError(ServingError):
    """A message of the models topic is neither a descriptor nor a pointer, or contradicts itself."""


class MappingError(ServingError):
    """A model input can be filled neither by a field of its name nor by the descriptor's mapping."""


class FieldValueError(ServingError):
    """The value of a field of one record does not fit the model input that it fills."""


class ModelLoadError(ServingError):
    """A model could not be fetched, opened or warmed up."""


class DigestMismatchError(ModelLoadError):
    """The bytes that were fetched are not the bytes that were published."""


class UnknownModelTypeError(ModelLoadError):
    """No scorer serves the descriptor's modelType."""


class MissingExtraError(ModelLoadError):
    """A Python package that a model needs is missing; an extra of beam-serving installs it."""


class ScorerOptionError(ModelLoadError):
    """An option of the descriptor is unknown to its scorer, or has a value that cannot be read."""


class ScoringError(ServingError):
    """A model was asked and did not answer; the text is what the model or its server said."""


class ModelUnreachableError(ScoringError):
    """The model's server did not answer in time, or cannot be reached: no other record would fare better."""


class BatchDeadlineError(ModelUnreachableError):
    """The time that all calls for one batch may take is up before each of its records was scored."""


class ModelsTopicError(ServingError):
    """The models topic cannot be used as it is: missing, partitioned, or not reachable."""


class ModelsTopicCutError(ModelsTopicError):
    """Messages of the models topic are gone that were there before: it was recreated, or cut short."""


class ModelsNotFollowedError(ServingError):
    """Model updates no longer reach this worker; what it serves would grow old without a word."""


class OffsetsNotCommittedError(ServingError):
    """The thread that commits offsets has ended; what is scored would be scored again after the next start."""


class PublishError(ServingError):
    """A model was not published; the message says why and what to do."""


class OptionsError(ServingError):
    """A command line option or a configuration key is missing, unknown or malformed."""


class KafkaUnreachableError(ServingError):
    """No broker answered within the time that was given."""


class OffsetGapError(ServingError):
    """Records between the position to resume from and the first one available are gone."""


class TopicError(ServingError):
    """A topic is missing and cannot be made."""


class TopicForbiddenError(TopicError):
    """The brokers do not let this user see or read a topic."""

    @classmethod
    def of(cls, topic: str) -> TopicForbiddenError:
        """The error of a topic, with the remedy."""
        return cls(
            f"topic {topic!r} may not be read by this user: allow the operations Describe and Read on it "
            f"(kafka-acls --add --allow-principal User:NAME --operation Describe --operation Read --topic {topic})"
        )


class PipelineFailedError(ServingError):
    """A pipeline that runs until it is stopped ended by itself."""


class SecretUnavailableError(ServingError):
    """A secret that a setting refers to cannot be read by whoever runs here."""


class TokenUnavailableError(ServingError):
    """Google gave no access token to show to the Kafka brokers."""


class CloudResourceError(ServingError):
    """A project, region, bucket or job of Google Cloud is missing, or closed to whoever runs here."""


class DemoMissingError(ServingError):
    """The demo is not part of the installed package."""


class WheelError(ServingError):
    """This application's own wheel, which workers need, cannot be built here."""


class FlinkUnreachableError(ServingError):
    """No Flink cluster answers at the address that was given."""


class FlinkJobError(ServingError):
    """A Flink cluster cannot run a job, or did not do what it was asked to do with one."""
