"""Scoring with inference graphs."""
