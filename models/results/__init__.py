"""The messages that the pipeline writes for records: results and dead letters."""
