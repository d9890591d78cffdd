"""Several trainings: folds, seeds and settings, on Ray Tune."""
