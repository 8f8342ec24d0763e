"""What goes into a model and what comes out of it, as columns: the mapping from record fields, and the outputs."""
