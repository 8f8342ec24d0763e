"""Our own evaluator of PMML 4: it reads a file once, and then computes with whole columns.

A file goes through these modules: `elements` (safe XML), `fields` (dictionary and mining schema), `expressions`,
`mappings` and `functions` (derived fields), one module for each kind of model, `targets`, `outputs`, and `document`,
which puts them together. Whatever is not supported is refused when the file is read. `scorer` serves it.
"""
