"""Studies: searches for the best parameters whose trials are runs."""
