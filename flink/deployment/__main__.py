"""The command line `python -m flink.deployment deploy|upgrade|rollback|delete ENVIRONMENT`, with its errors."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from flink.deployment.commands import delete, deploy, rollback, upgrade
from flink.deployment.errors import DeploymentError, UsageError

COMMANDS = {"deploy": deploy, "upgrade": upgrade, "rollback": rollback, "delete": delete}
SECONDS = 900.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 on success, 1 on failure, 2 on a usage error."""
    parser = argparse.ArgumentParser(
        prog="python -m flink.deployment",
        description="Deploys an environment to Kubernetes, upgrades it with a savepoint, rolls it back, or deletes it.",
        allow_abbrev=False,
    )
    parser.add_argument("command", choices=COMMANDS, help="what to do")
    parser.add_argument("environment", nargs="?", default="", help="an overlay in flink/kubernetes/overlays")
    parser.add_argument(
        "--timeout",
        type=float,
        default=SECONDS,
        metavar="SECONDS",
        help="how long to wait for the operator (default: %(default)g)",
    )
    given = parser.parse_args(arguments)
    try:
        COMMANDS[given.command](given.environment, given.timeout, lambda text: print(text, flush=True))
    except DeploymentError as error:
        print(f"{given.command}: {error}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
