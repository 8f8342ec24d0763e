"""The commands, one module each: `add_arguments` and `run` (see `beam_pipeline.command_line.Command`)."""
