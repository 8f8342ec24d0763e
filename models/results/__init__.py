"""The messages that records become: results and dead letters."""
