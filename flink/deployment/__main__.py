"""`python -m flink.deployment deploy|upgrade|rollback ENVIRONMENT`: parses, and turns errors into messages."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from flink.deployment.commands import deploy, rollback, upgrade
from flink.deployment.errors import DeploymentError, UsageError

COMMANDS = {"deploy": deploy, "upgrade": upgrade, "rollback": rollback}
SECONDS = 900.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives 0 when it worked, 1 when it did not, 2 when it was told wrongly."""
    parser = argparse.ArgumentParser(prog="python -m flink.deployment", description=__doc__, allow_abbrev=False)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("environment", nargs="?", default="", help="an overlay of flink/kubernetes/overlays")
    parser.add_argument("--timeout", type=float, default=SECONDS, metavar="SECONDS", help="to wait for the operator")
    given = parser.parse_args(arguments)
    try:
        COMMANDS[given.command](given.environment, given.timeout, lambda text: print(text, flush=True))
    except DeploymentError as error:
        print(f"{given.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
