"""The tables that the reader keeps as Arrow files: one over all runs, columns of metrics."""
