"""Checks the Beam options of a command line, because Beam itself ignores options that it does not know."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from apache_beam.options.pipeline_options import PipelineOptions

from beam_pipeline.cli.arguments import OPTIONS, suggestion
from models.errors import OptionsError

# The application sets these itself; a value from the command line would contradict it.
_OURS = ("--runner", "--streaming", "--save_main_session", "--pickle_library")


def check_beam_arguments(arguments: Sequence[str]) -> None:
    """Raises OptionsError for an argument that neither this application nor Beam knows."""
    parser = _BeamParser(add_help=False, allow_abbrev=False)
    for kind in _all_kinds(PipelineOptions):
        kind._add_argparse_args(parser)
    known = [text for action in parser._actions for text in action.option_strings]
    _, unknown = parser.parse_known_args(list(arguments))
    for argument in unknown:
        name = argument.split("=")[0]
        near = suggestion(name, [*known, *(f"--{one}" for one in OPTIONS)])
        raise OptionsError(f"{name!r} is not an option of beam-serving or Beam{near}")
    for argument in arguments:
        if argument.split("=")[0] in _OURS:
            raise OptionsError(f"{argument.split('=')[0]} is set by beam-serving and cannot be overridden")


class _BeamParser(argparse.ArgumentParser):
    """Parses the options of all of Beam's option classes and raises OptionsError instead of exiting."""

    def add_argument(self, *arguments: str, **settings: object) -> argparse.Action:
        """Adds an option, unless another class has defined it already, as some of Beam's do."""
        try:
            return super().add_argument(*arguments, **settings)  # type: ignore[arg-type]
        except argparse.ArgumentError:
            return self._actions[-1]

    def add_value_provider_argument(self, *arguments: str, **settings: object) -> argparse.Action:
        """Adds an ordinary argument: only the name matters here."""
        settings.pop("default", None)
        return self.add_argument(*arguments, **settings)

    def error(self, message: str) -> None:  # type: ignore[override]
        """Raises OptionsError, where argparse would exit."""
        raise OptionsError(f"Beam options: {message}")


def _all_kinds(kind: type[PipelineOptions]) -> list[type[PipelineOptions]]:
    kinds = []
    for child in kind.__subclasses__():
        kinds += [child, *_all_kinds(child)]
    return kinds
