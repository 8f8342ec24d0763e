"""The models topic: descriptors, pointers, the catalog built from them, reading and publishing."""
