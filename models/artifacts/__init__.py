"""Model files: fetching, archives and digests."""
