"""The plain requirements, and those of the extras."""

from __future__ import annotations

import pytest

from models.extras import EXTRA_OF
from tests.setup_requirements import HEAVY_EXTRAS, extra, plain

NAMED_BY_THE_USER = {"apache-beam", "tensorflow", "tfx-bsl", "fastavro", "grpcio"}


def test_what_the_user_named_is_a_plain_requirement() -> None:
    required = {requirement.name: requirement for requirement in plain()}
    assert required.keys() >= NAMED_BY_THE_USER
    assert required["apache-beam"].extras == {"gcp"}
    assert "pytest" in {requirement.name for requirement in extra("test")}


@pytest.mark.parametrize("name", sorted(set(EXTRA_OF.values()) - HEAVY_EXTRAS))
def test_tests_install_what_users_of_an_extra_do(name: str) -> None:
    assert {str(requirement) for requirement in extra(name)} <= {str(requirement) for requirement in extra("test")}
