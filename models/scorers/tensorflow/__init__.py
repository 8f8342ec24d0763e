"""Scorers of models that TensorFlow runs in the process: SavedModels, frozen graphs, TensorFlow Lite and Keras."""
