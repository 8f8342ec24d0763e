"""One configuration turned into what each runner wants. Knows nothing of the graph."""
