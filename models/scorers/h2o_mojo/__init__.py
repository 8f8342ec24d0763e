"""Models of H2O in MOJO files, scored by H2O's own genmodel in a Java machine in this process."""
