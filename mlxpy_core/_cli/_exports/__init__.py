"""Runs as other trackers have them, each by its vendor's own client."""
