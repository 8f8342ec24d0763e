"""The command line: its options, commands, logs and tables."""
