"""What a run tells: records, progress, lists and plots of runs."""
