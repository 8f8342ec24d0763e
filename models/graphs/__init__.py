"""What the steps of inference graphs compute: pure functions over the outputs of models, and the order of the steps."""
