"""Jobs for clusters: what is rendered and sent, to Ray, Kubernetes or Slurm."""
