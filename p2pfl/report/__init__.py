"""Pages with pictures, of one run or of many."""
