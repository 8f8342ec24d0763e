"""Kafka clients, credentials and topics, and the reading of a partition."""
