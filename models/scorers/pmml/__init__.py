"""Our own evaluator of PMML 4: it reads a file once, and then computes with whole columns.

A file goes through these modules: `elements` (safe XML), `fields` (dictionary and mining schema), `expressions`,
`mappings` and `functions` (derived fields), one module for each kind of model, `targets`, `outputs`, and `document`,
which combines them. Anything that is not supported is rejected when the file is read. `scorer` serves the file.
"""
