"""Records of runs: the metrics file, progress on the console, run lists, plots, TensorBoard."""
