"""Records as they come from Kafka, and how their bytes become values."""
