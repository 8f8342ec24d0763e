"""Publishing: drafts of models that are checked first, and generated records."""
