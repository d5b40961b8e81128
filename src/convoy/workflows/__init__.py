"""Each of ingest, train, evaluate, promote, score, tune, experiment, reproduce and pipeline, once, as a function.

Commands, notebooks, tuning, experiments and tests call these functions. A workflow imports any room; no room imports a
workflow.
"""
