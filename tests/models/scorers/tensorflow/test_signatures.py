from __future__ import annotations

import pytest

from models.errors import ModelLoadError
from models.scorers.tensorflow.signatures import choose_signature


@pytest.mark.parametrize(
    ("names", "wanted", "chosen"),
    [
        (["predict", "serving_default"], "predict", "predict"),
        (["predict", "serving_default"], None, "serving_default"),
        (["predict", "__saved_model_init_op"], None, "predict"),
    ],
)
def test_the_named_signature_is_chosen_else_the_default_else_the_only_one(
    names: list[str], wanted: str | None, chosen: str
) -> None:
    assert choose_signature(names, wanted, "somewhere") == chosen


@pytest.mark.parametrize(("names", "wanted"), [(["a", "b"], "c"), (["a", "b"], None), (["a"], "b")])
def test_an_ambiguous_signature_is_an_error_that_lists_all(names: list[str], wanted: str | None) -> None:
    with pytest.raises(ModelLoadError, match=f"somewhere: .*signatures: {', '.join(names)}"):
        choose_signature(names, wanted, "somewhere")
