"""Models of other frameworks as they are: one file each, known by their methods, never imported."""
