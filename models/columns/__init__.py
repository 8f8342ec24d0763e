"""The inputs and outputs of models as columns: the mapping from record fields, and the outputs by record."""
