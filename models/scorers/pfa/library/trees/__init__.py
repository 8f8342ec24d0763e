"""Functions in which rows descend trees."""
