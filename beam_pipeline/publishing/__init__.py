"""Publishing: checked drafts of models, and generated records."""
