"""Distributed training: ranks, events from them, restarts."""
