"""Where data sets come from, one source per file."""
