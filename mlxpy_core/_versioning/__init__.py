"""The version manager: runs come from a copy of a commit."""
