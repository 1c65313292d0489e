"""What lies in the directory of a run, read and written in one place."""
