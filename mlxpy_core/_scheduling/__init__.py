"""Schedulers: how a run becomes a script, and how scripts are submitted to a cluster's queue."""
