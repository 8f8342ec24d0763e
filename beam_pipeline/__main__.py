"""Runs the command line as `python -m beam_pipeline`."""

import sys

from beam_pipeline.cli.command_line import main

sys.exit(main())
