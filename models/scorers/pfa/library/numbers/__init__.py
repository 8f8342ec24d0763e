"""Functions of numbers and of vectors of them."""
