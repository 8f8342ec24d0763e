"""Our own evaluator of PFA 0.8.1, which compiles a document once and then computes with whole columns.

A document goes through these modules: `elements` (safe JSON), `avro_types` and `constants` (types, cells and literals),
`expressions`, `special_forms` and `paths` (the language), `library` (its functions), and `document`, which puts them
together. Whatever is not supported is refused when the document is compiled. `scorer` serves it.

Functions of a document are compiled where they are called, with the arguments that are known in advance. The trees of a
forest, for example, become arrays before the first record arrives.
"""
