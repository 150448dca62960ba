"""How models combine: one published algorithm per file, pure functions on small states."""
