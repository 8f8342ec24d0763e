"""The command line: its options, commands and tables."""
