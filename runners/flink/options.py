"""The options of a Flink run, beyond those that Beam's Python knows."""

from __future__ import annotations

import argparse

from apache_beam.options.pipeline_options import PipelineOptions

EMBEDDED = "[local]"

# Read by Beam's Flink runner in the job manager, under these names (`FlinkPipelineOptions` in its Java sources).
_OF_THE_JOB = {
    "checkpointing_interval": "milliseconds from checkpoint to checkpoint",
    "checkpoint_timeout_millis": "milliseconds after which a checkpoint is given up",
    "min_pause_between_checkpoints": "milliseconds between checkpoints at least",
    "max_bundle_size": "elements of a bundle at most",
    "max_bundle_time_mills": "milliseconds of a bundle at most",
    "number_of_execution_retries": "restarts of the job at most; else what the cluster is set to",
    "execution_retry_delay": "milliseconds before a restart",
}


class FlinkServingOptions(PipelineOptions):
    """What a Flink run can be told besides; Beam finds the class when this module is imported."""

    @classmethod
    def _add_argparse_args(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument(
            "--flink-master",
            dest="flink_rest_address",
            help="HOST:PORT of the cluster's REST endpoint; left out: a Flink inside this run",
        )
        parser.add_argument("--savepoint_path", help="the savepoint or checkpoint to go on from")
        parser.add_argument(
            "--savepoint-on-stop",
            dest="savepoint_on_stop",
            metavar="FOLDER",
            help="the folder into which stopping puts a savepoint; every task manager must reach it",
        )
        parser.add_argument(
            "--allow_non_restored_state",
            action="store_true",
            default=None,
            help="start also when the savepoint holds state of a step that is gone",
        )
        parser.add_argument(
            "--operator_chaining",
            choices=["true", "false"],
            help="whether Flink may run neighbouring operators in one task",
        )
        for name, text in _OF_THE_JOB.items():
            parser.add_argument(f"--{name}", type=int, help=text)
