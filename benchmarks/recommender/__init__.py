"""The measured workload: a recommender, its records, and loading it as a worker does."""
