"""Loading one version of a model: fetch, open, plan, warm up, admit."""
