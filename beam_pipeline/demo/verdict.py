"""Whether everything happened as it should."""

from __future__ import annotations

from beam_pipeline.demo.snapshot import Snapshot, VersionLine

# Something that is true when it is wrong, and the sentence that says so.
_Finding = tuple[object, str]


def shortcomings(snapshot: Snapshot, passes: int) -> list[str]:
    """What did not happen as it should, a sentence each; what only a whole pass shows is judged when there was one."""
    found: list[_Finding] = [
        (snapshot.waiting, f"{snapshot.waiting:,} records have no result"),
        (snapshot.errors, f"{snapshot.errors:,} records could not be scored by the model that was asked"),
        (not snapshot.answered, "no result came"),
        (_records(snapshot.of_kind("broken")), "a version that cannot be loaded is said to have scored"),
    ]
    if passes:
        found += _of_a_pass(snapshot)
    return [sentence for wrong, sentence in found if wrong]


def _of_a_pass(snapshot: Snapshot) -> list[_Finding]:
    weak, good, broken = (snapshot.of_kind(kind) for kind in ("weak", "good", "broken"))
    refused = {refusal.version for refusal in snapshot.refusals}
    dead, sent = snapshot.dead_records, snapshot.malformed_sent
    dead_descriptors, sent_descriptors = snapshot.dead_descriptors, snapshot.malformed_descriptors_sent
    return [
        (not snapshot.line(None).records, "no record was answered with 'no model'"),
        (not _records(weak), "the weak model scored nothing"),
        (not _records(good), "the good model scored nothing"),
        ((accuracy(good) or 0) <= (accuracy(weak) or 0), "the good model is no better than the weak one"),
        (not {line.version for line in broken} & refused, "no broken model was refused"),
        ({line.version for line in weak + good} & refused, "a sound model was refused"),
        (dead != sent, f"{dead} dead letters for {sent} malformed records"),
        (dead_descriptors != sent_descriptors, f"{dead_descriptors} dead letters for {sent_descriptors} descriptors"),
    ]


def accuracy(lines: list[VersionLine]) -> float | None:
    """Of several versions together."""
    records = _records(lines)
    return sum((line.accuracy or 0) * line.records for line in lines) / records if records else None


def _records(lines: list[VersionLine]) -> int:
    return sum(line.records for line in lines)
