"""Avro encodings for the messages of this application: single-object encoding, and fast encoders for columns."""
