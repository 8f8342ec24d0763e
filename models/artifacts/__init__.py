"""Model files: local copies, zip archives and digests."""
