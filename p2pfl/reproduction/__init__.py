"""Published and predicted numbers next to what this program measures, one file per target."""
