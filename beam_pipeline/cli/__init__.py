"""The command line: options, commands, logs and tables."""
