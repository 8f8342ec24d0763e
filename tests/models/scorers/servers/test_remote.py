from __future__ import annotations

import numpy as np
import pytest

from models.errors import ModelLoadError, ScoringError
from models.model_topic.descriptor import ModelDescriptor
from models.scorers.servers import (
    remote,
)


def test_an_output_that_the_signature_lacks_is_an_error_that_names_all() -> None:
    descriptor = ModelDescriptor("m", "t", outputs={"quality": "score"})
    with pytest.raises(ModelLoadError, match="no output score; outputs: total"):
        remote.wanted_outputs(descriptor, ["total"], "somewhere")


def test_an_output_without_a_row_for_each_row_is_an_error() -> None:
    remote.check_rows({"y": np.zeros((3, 2))}, 3, "somewhere")
    for output in (np.zeros((2,)), np.zeros(())):
        with pytest.raises(ScoringError, match="somewhere: output 'y'"):
            remote.check_rows({"y": output}, 3, "somewhere")


class BrokenClient:
    """A client whose `close` fails as well."""

    def close(self) -> None:
        raise OSError("broken")


@pytest.mark.parametrize("error", [ScoringError("no answer"), RuntimeError("no answer")])
def test_a_client_that_cannot_be_closed_does_not_hide_why(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises((ModelLoadError, RuntimeError), match="no answer"), remote.closed_on_failure(BrokenClient()):
        raise error
    assert "broken" in caplog.text
