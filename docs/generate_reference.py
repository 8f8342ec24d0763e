"""Makes the pages of docs/reference out of the code, when mkdocs builds the site (a hook of mkdocs.yml).

To look at one without mkdocs: `python -m docs.generate_reference options`.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from importlib import import_module
from inspect import getdoc
from pathlib import Path
from typing import Any

# mkdocs loads this file by its path, from wherever it was started.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from beam_pipeline.cli.arguments import OPTIONS, Option
from beam_pipeline.cli.command_line import COMMANDS
from beam_pipeline.options import ServingOptions
from models.observing.instruments import INSTRUMENTS, STAGE_DURATION
from models.records.record_type import RecordType
from models.results.schema import result_schema
from models.schemas import bundled_schema
from models.status.events import ArmShare, ModelStatistics, StatusEvent, WorkerState

_ATTRIBUTE = re.compile(r"^  (?P<names>\w+(?:, \w+)*): ", re.MULTILINE)


class _WideHelp(argparse.HelpFormatter):
    """Of one width, whatever the terminal's."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=100)


def options_page() -> str:
    """Every option of `run`, with its default."""
    rows = [
        (f"`--{option.name}`", _sentence(option.help), _values(option), _default(option)) for option in OPTIONS.values()
    ]
    return "\n".join(
        [
            "# Options",
            "",
            "The options of `beam-serving run`; other commands take those that they need. Each can be given on the",
            "command line, or by its name without the dashes in the file of `--config`; the command line wins.",
            "Beam's own options go on the command line as well, or into the list `runner-options` of the file.",
            "",
            *_table(("Option", "Meaning", "Values", "Default"), rows),
        ]
    )


def commands_page() -> str:
    """What `--help` of every command says."""
    lines = ["# Commands", "", "`beam-serving COMMAND --help` prints these texts.", ""]
    for name, (module, summary, *_) in COMMANDS.items():
        lines += [f"## {name}", "", _sentence(summary), ""]
        for parser in _parsers(name, module):
            parser.formatter_class = _WideHelp
            lines += ["```text", parser.format_help().strip(), "```", ""]
    return "\n".join(lines)


def status_page() -> str:
    """The messages of the status topic."""
    return "\n".join(
        [
            "# Status events",
            "",
            "Each message of the status topic is a JSON object. Its key is `DEPLOYMENT/WORKER/MODEL/VERSION`, or",
            "`DEPLOYMENT/WORKER` for what concerns no model, so that a compacted topic holds the last event of each",
            "version in each worker. `beam-serving status` folds the events into tables, and `--watch` keeps them",
            "current.",
            "",
            *_table(("Field", "Meaning"), _attributes(StatusEvent)),
            "",
            "## Statistics",
            "",
            *_table(("Field", "Meaning"), _attributes(ModelStatistics)),
            "",
            "## Arms",
            "",
            *_table(("Field", "Meaning"), _attributes(ArmShare)),
            "",
            "## The state of a worker",
            "",
            *_table(("Field", "Meaning"), _attributes(WorkerState)),
        ]
    )


def metrics_page() -> str:
    """Every instrument, with its names in OpenTelemetry and in Prometheus."""
    rows = [
        (
            f"`{one.prometheus_name}`",
            one.kind,
            one.description,
            ", ".join(f"`{label}`" for label in one.labels),
            f"`{one.name}`, {one.unit}",
        )
        for one in INSTRUMENTS
    ]
    return "\n".join(
        [
            "# Metrics",
            "",
            "Histograms in seconds have the limits "
            + ", ".join(f"{limit:g}" for limit in STAGE_DURATION.limits)
            + ". A label is empty if there is nothing to name.",
            "",
            *_table(("Prometheus", "Kind", "Meaning", "Labels", "OpenTelemetry"), rows),
        ]
    )


def results_page() -> str:
    """The schema of results, of dead letters and of descriptors."""
    example = json.dumps(result_schema(RecordType.named("wine").codec.embedding), indent=2)
    return "\n".join(
        [
            "# Messages",
            "",
            "## Results",
            "",
            "A result is one value of the schema `ScoringResult` in Avro's single-object encoding, or a JSON object of",
            "the same fields, by the format of the records. Its key is the record's, or its coordinates",
            "(`--result-key`).",
            "",
            *_table(
                ("Field", "Meaning"),
                [
                    ("`inputRecord`", "The record as it came."),
                    ("`outputs`", "The model's outputs by name: a shape and values. Empty where there is an error."),
                    ("`modelResultMetadata`", "Which model scored, and how; see below."),
                ],
            ),
            "",
            "### modelResultMetadata",
            "",
            *_schema_table("result_metadata"),
            "",
            '??? note "The whole schema of the results of wine records"',
            "",
            *_indented(["```json", *example.splitlines(), "```"]),
            "",
            "## Dead letters",
            "",
            "One value in Avro's single-object encoding; the key is TOPIC-PARTITION-OFFSET of the original.",
            "",
            *_schema_table("dead_letter"),
            "",
            "## Model descriptors",
            "",
            "`beam-serving models publish` writes them to the models topic, in Avro's single-object encoding.",
            "",
            *_schema_table("model_descriptor"),
            "",
            "## Routes",
            "",
            "`beam-serving models promote`, `canary`, `shadow`, `withdraw` and `apply` write them to the models topic,",
            "keyed `route/DATA_TYPE`, in Avro's single-object encoding.",
            "",
            *_schema_table("model_route"),
            "",
            '??? note "The whole schema of routes"',
            "",
            *_indented(["```json", *json.dumps(bundled_schema("model_route"), indent=2).splitlines(), "```"]),
        ]
    )


PAGES: dict[str, Callable[[], str]] = {
    "options": options_page,
    "commands": commands_page,
    "status-events": status_page,
    "metrics": metrics_page,
    "messages": results_page,
}


def on_files(files: Any, config: Any) -> Any:
    """Called by mkdocs with the pages that lie in docs/: adds those that are generated."""
    from mkdocs.structure.files import File

    for name, make in PAGES.items():
        files.append(File.generated(config, f"reference/{name}.md", content=make()))
    return files


def _parsers(name: str, module: str) -> Iterator[argparse.ArgumentParser]:
    """The parser of a command, or one for each of its actions."""
    parser = argparse.ArgumentParser(prog=f"beam-serving {name}", allow_abbrev=False)
    import_module(module).add_arguments(parser)
    nested = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not nested:
        yield parser
    for action in nested:
        yield from action.choices.values()


def _values(option: Option) -> str:
    if option.pairs:
        return "`K=V`, repeatable"
    if option.choices:
        return ", ".join(f"`{choice}`" for choice in option.choices)
    if option.share:
        return "a number from 0 to 1"
    return f"a whole number from {option.number}" if option.number is not None else "text"


def _default(option: Option) -> str:
    (field,) = (one for one in fields(ServingOptions) if one.name == option.field)
    if field.default is MISSING and field.default_factory is MISSING and not option.pairs:
        return "**required**"
    return f"`{field.default}`" if field.default not in (MISSING, None) else ""


def _attributes(kind: type) -> list[tuple[str, str]]:
    """The fields of a dataclass as its docstring explains them, as (names, meaning)."""
    section = (getdoc(kind) or "").partition("Attributes:\n")[2]
    found = list(_ATTRIBUTE.finditer(section))
    ends = [*(match.start() for match in found[1:]), len(section)]
    texts = [" ".join(section[match.end() : end].split()) for match, end in zip(found, ends, strict=True)]
    names = [", ".join(f"`{name}`" for name in match["names"].split(", ")) for match in found]
    return list(zip(names, texts, strict=True))


def _schema_table(name: str) -> list[str]:
    rows = [
        (f"`{field['name']}`", f"`{_type(field['type'])}`", field.get("doc", ""))
        for field in bundled_schema(name)["fields"]
    ]
    return _table(("Field", "Type", "Meaning"), rows)


def _type(declared: Any) -> str:
    """An Avro type in a few words."""
    if isinstance(declared, list):
        return " or ".join(map(_type, declared))
    if not isinstance(declared, dict):
        return str(declared)
    if declared["type"] == "array":
        return f"array of {_type(declared['items'])}"
    if declared["type"] == "map":
        return f"map of {_type(declared['values'])}"
    return str(declared.get("logicalType") or declared.get("name") or declared["type"])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines]


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"    {line}" if line else "" for line in lines]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", ")")) else ".")


if __name__ == "__main__":
    print(PAGES[sys.argv[1]]())
