from __future__ import annotations

import pytest

from beam_pipeline.cli.beam_arguments import check_beam_arguments
from models.errors import OptionsError


def test_options_of_beam_pass() -> None:
    check_beam_arguments(["--prism_location=/x", "--job_name=a", "--experiments=b", "--experiments=c"])


def test_nothing_given_passes() -> None:
    check_beam_arguments([])


def test_a_misspelt_option_is_refused_and_the_nearest_is_named() -> None:
    with pytest.raises(OptionsError, match=r"'--max-btach' is no option .* did you mean '--max-batch'"):
        check_beam_arguments(["--max-btach", "5"])


def test_an_option_that_the_application_sets_is_refused() -> None:
    with pytest.raises(OptionsError, match=r"--save_main_session is set by beam-serving"):
        check_beam_arguments(["--save_main_session"])


def test_a_value_that_beam_cannot_read_is_refused() -> None:
    with pytest.raises(OptionsError, match=r"Beam options: .*job_port"):
        check_beam_arguments(["--job_port=many"])
