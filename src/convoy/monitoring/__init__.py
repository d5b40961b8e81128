"""Drift of scored images against the training data: counted while scoring, judged afterwards."""
