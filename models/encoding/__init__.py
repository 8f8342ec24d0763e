"""The messages that this application writes: results, dead letters, Avro's single-object encoding."""
