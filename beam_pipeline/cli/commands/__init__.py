"""The commands, one module each, with `add_arguments` and `run` (see `beam_pipeline.cli.command_line.Command`)."""
