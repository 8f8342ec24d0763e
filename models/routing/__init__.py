"""Routes: which of several models answers a record."""
