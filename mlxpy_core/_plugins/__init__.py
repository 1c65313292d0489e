"""What other packages may bring: schedulers, artifact types, version managers, watchers of runs."""
