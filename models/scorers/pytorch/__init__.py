"""modelType `pytorch`: programs that PyTorch has exported."""
