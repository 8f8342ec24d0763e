"""The domain without Beam: descriptors, records, mapping, the registry of live models, scorers."""
