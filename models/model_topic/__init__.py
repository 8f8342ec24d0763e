"""The models topic: descriptors, pointers, the catalog that they fold to, reading and publishing."""
