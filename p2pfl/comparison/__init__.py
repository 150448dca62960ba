"""Side by side: baselines, the same experiment under several algorithms, tables."""
