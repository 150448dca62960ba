"""What a run leaves behind: the same records from both drivers, in memory and in a folder."""
