"""Models that MLflow has logged: `scorer` hands each to the scorer of its flavour, or to `function`."""
