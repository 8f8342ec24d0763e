"""Kafka clients, credentials, topics, and a reader for one partition."""
