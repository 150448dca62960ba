"""Models from data: tasks, data sets, partitions, models, trainers. The home of torch."""
