"""The payload log: a sampled share of the requests of models and of their answers, in files and as events.

`PayloadLog` listens to answers, takes the sampled ones apart on a thread of its own (`payload.py`), and hands them to
its destinations: files of `tensorflow.serving.PredictionLog` (`files.py`), and a topic of CloudEvents (`events.py`).
"""
