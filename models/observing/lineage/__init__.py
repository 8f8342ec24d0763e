"""Lineage: which versions of models turned which topics into which, as run events of OpenLineage."""
