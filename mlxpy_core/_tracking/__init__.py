"""A run under way in this process, and the logger that its program holds."""
