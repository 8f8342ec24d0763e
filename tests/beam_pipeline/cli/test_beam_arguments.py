from __future__ import annotations

import argparse

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cli.beam_arguments import _all_kinds, _BeamParser, check_beam_arguments
from beam_pipeline.cli.option_values import DASHED_BEAM_OPTIONS, check_dashed_names
from models.errors import OptionsError
from runners.plan import RUNNER_MODULES, import_runner


def test_options_of_beam_pass() -> None:
    check_beam_arguments(["--prism_location=/x", "--job_name=a", "--experiments=b", "--experiments=c"])


def test_nothing_given_passes() -> None:
    check_beam_arguments([])


def test_a_misspelt_option_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(OptionsError, match=r"'--max-btach' is not an option .* did you mean '--max-batch'"):
        check_beam_arguments(["--max-btach", "5"])


def test_an_option_that_the_application_sets_is_refused() -> None:
    with pytest.raises(OptionsError, match=r"--save_main_session is set by beam-serving"):
        check_beam_arguments(["--save_main_session"])


def test_a_value_that_beam_cannot_read_is_refused() -> None:
    with pytest.raises(OptionsError, match=r"Beam options: .*job_port"):
        check_beam_arguments(["--job_port=many"])


def all_beam_options() -> set[str]:
    for runner in RUNNER_MODULES:
        import_runner(runner)
    parser: argparse.ArgumentParser = _BeamParser(add_help=False)
    for kind in _all_kinds(PipelineOptions):
        kind._add_argparse_args(parser)
    return {name for action in parser._actions for name in action.option_strings}


def test_the_options_with_dashes_are_known_without_beam() -> None:
    assert {name for name in all_beam_options() if "-" in name[2:]} == set(DASHED_BEAM_OPTIONS)


def test_a_name_with_dashes_that_nobody_knows_is_refused_without_beam() -> None:
    check_dashed_names(["--flink-master=localhost:8081", "--prism_location=/x-y", "--job_name=a", "-x"])
    with pytest.raises(OptionsError, match=r"'--flink-mastr' is not an option .* did you mean '--flink-master'"):
        check_dashed_names(["--flink-mastr=localhost:8081"])
