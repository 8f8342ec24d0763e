"""The messages that records give: results and dead letters."""
