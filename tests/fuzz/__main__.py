"""`python -m tests.fuzz --records 1000000 --seed 1`: random records through the product, without an exception."""

from __future__ import annotations

import argparse
import logging
import secrets
import sys

from runners.local.schema_registry import LocalSchemaRegistry
from tests.fuzz.run import FuzzError, fuzz
from tests.fuzz.streams import STREAMS


def main() -> int:
    """Runs the fuzzer; returns 1 when a record led to an exception."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32), help="repeats a run (default: random)")
    parser.add_argument("--format", choices=sorted(STREAMS), action="append", help="only this one (default: all)")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)
    print(f"seed {arguments.seed}", flush=True)
    try:
        with LocalSchemaRegistry() as registry:
            tally = fuzz(arguments.records, arguments.seed, registry.url, arguments.format or tuple(STREAMS))
    except FuzzError as error:
        print(f"{error}\nrepeat it with --seed {arguments.seed}", file=sys.stderr)
        raise
    print(
        f"{tally.records:,} records without an exception: {tally.results:,} results, "
        f"{tally.errors:,} of them with an error, and {tally.dead_letters:,} dead letters; "
        f"{tally.records / max(tally.seconds, 1e-9):,.0f} records/s of processor time"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
