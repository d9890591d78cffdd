"""Training: the step and the loop on DeepSpeed, checkpoints, ranks on Ray Train, sweeps on Ray Tune."""
