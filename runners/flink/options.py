"""The options of a run on Flink that Beam's Python SDK does not define."""

from __future__ import annotations

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

EMBEDDED = "[local]"

# Beam's Flink runner reads these in the job manager, under the same names (`FlinkPipelineOptions` in its Java sources).
_OF_THE_JOB = {
    "checkpointing_interval": "interval between checkpoints, in milliseconds",
    "checkpoint_timeout_millis": "milliseconds after which a checkpoint is abandoned",
    "min_pause_between_checkpoints": "minimum pause between checkpoints, in milliseconds",
    "max_bundle_size": "maximum number of elements in a bundle",
    "max_bundle_time_mills": "maximum duration of a bundle, in milliseconds",
    "number_of_execution_retries": "maximum number of restarts of the job (default: set by the cluster)",
    "execution_retry_delay": "milliseconds before a restart",
}


class FlinkServingOptions(PipelineOptions):
    """Further options of a run on Flink; importing this module registers them with Beam."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--flink-master",
            dest="flink_rest_address",
            help="HOST:PORT of the cluster's REST endpoint (default: an embedded Flink)",
        )
        parser.add_argument("--savepoint_path", help="the savepoint or checkpoint to resume from")
        parser.add_argument(
            "--savepoint-on-stop",
            dest="savepoint_on_stop",
            metavar="FOLDER",
            help="take a savepoint into this folder when stopping; every task manager must be able to reach it",
        )
        parser.add_argument(
            "--allow_non_restored_state",
            action="store_true",
            default=None,
            help="start even if the savepoint has state of a step that no longer exists",
        )
        parser.add_argument(
            "--operator_chaining",
            choices=["true", "false"],
            help="whether Flink may run neighbouring operators in one task",
        )
        for name, text in _OF_THE_JOB.items():
            parser.add_argument(f"--{name}", type=int, help=text)
