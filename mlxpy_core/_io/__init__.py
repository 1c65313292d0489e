"""What lies below everything: files that are whole or not there, YAML, flat dicts, the progress bar."""
