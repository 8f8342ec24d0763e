"""`beam-serving run`: checks the options and the topics, then runs the pipeline until it is stopped."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence

from beam_pipeline.cli.arguments import RUN, add_options, runs_until_stopped
from beam_pipeline.cli.option_values import check_dashed_names, read_options, read_runner_options, serving_options
from beam_pipeline.logs import set_up_logs
from beam_pipeline.options import ServingOptions
from models.errors import KafkaUnreachableError
from models.secret_references import check_secrets_are_references
from runners.plan import check_runner, import_runner

_LOGGER = logging.getLogger(__name__)
_SECONDS = 15.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the command's own arguments."""
    runs_until_stopped(parser)
    add_options(parser, RUN)
    parser.add_argument("--verbose", action="store_true", help="also log the messages of Beam and the runner")
    parser.epilog = (
        "All other options go to Beam and to the runner, for example --prism_location=PATH. Options for --runner "
        "FlinkRunner: --flink-master HOST:PORT (default: an embedded Flink), --parallelism=N, --savepoint-on-stop "
        "FOLDER, --savepoint_path=PATH, --checkpointing_interval=MILLISECONDS, --output_executable_path=FILE (only "
        "writes the job's jar). Options for --runner DataflowRunner: --project, --region, --temp_location and those in "
        "docs/dataflow.md. In a --config file, these options are listed under runner-options. An option that neither "
        "beam-serving nor Beam knows is an error."
    )


def run(given: argparse.Namespace, rest: Sequence[str]) -> int:
    """Runs until Ctrl-C or SIGTERM; see `command_line.Command`."""
    set_up_logs(given.verbose)
    options = serving_options(read_options(given, RUN), [*read_runner_options(given), *rest])
    check_dashed_names(options.runner_arguments)
    check_options(options)
    register_schemas(options)
    # Importing Beam takes seconds, so the checks above do without it and report mistakes at once.
    from beam_pipeline.cli.beam_arguments import check_beam_arguments
    from beam_pipeline.running import run as run_pipeline

    runner = import_runner(options.runner)  # the import registers the runner's own options with Beam
    check_beam_arguments(options.runner_arguments)
    if runner.REMOTE:
        check_secrets_are_references(options.kafka_config)
        check_secrets_are_references(options.schema_registry_config, option="schema-registry-config")
    else:
        check_topics(options)
    # Planning comes last: it may download or build what the runner needs, which can take minutes.
    run_pipeline(options, runner.plan(options.runner_arguments))
    return 0


def check_options(options: ServingOptions) -> None:
    """Checks everything that can be checked without a broker; raises ServingError."""
    check_runner(options.runner)
    options.start_at()
    options.engine_types()
    options.explanations()
    options.kafka().check()
    options.dead_letters()
    options.observation()
    record_types = options.record_types()
    from models.results.schema import check_result_schema

    for record_type in record_types.values():
        check_result_schema(record_type)


def register_schemas(options: ServingOptions) -> None:
    """Registers the schemas of results and dead letters if their formats need it, so that a refusal is reported now.

    Raises:
      SchemaError: the registry refuses a schema.
      RegistryUnreachableError: the registry does not answer.
    """
    from models.results.schema import register_result_schema

    for record_type in options.record_types().values():
        register_result_schema(record_type, options.results_topic, options.outliers == "on")
    options.dead_letters().register()


def check_topics(options: ServingOptions) -> None:
    """Checks that the broker answers and the models topic is usable, and creates missing output topics.

    A missing records topic is only worth a warning, because its producer may create it later.

    Raises:
      KafkaUnreachableError, ModelsTopicError, TopicError: the message names a remedy.
    """
    try:
        _check_topics(options)
    except KafkaUnreachableError as error:
        raise KafkaUnreachableError(f"{error} (bootstrap servers: {options.bootstrap_servers})") from error


def _check_topics(options: ServingOptions) -> None:
    from models.kafka.client import partition_count
    from models.kafka.topics import COMPACTED, check_models_topic, ensure_topic

    kafka = options.kafka()
    for records in options.records_topics():
        if not partition_count(kafka.admin(), records.topic, _SECONDS):
            _LOGGER.warning("records topic %r does not exist yet", records.topic)
    check_models_topic(kafka, options.models_topic)
    for topic in options.written_topics():
        ensure_topic(kafka, topic)
    if options.status_topic is not None:
        ensure_topic(kafka, options.status_topic, COMPACTED)
