"""The computations of inference graphs: pure functions over the outputs of models, and the order of the steps."""
