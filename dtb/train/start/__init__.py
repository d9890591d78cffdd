"""What a training knows of everybody before its first step: scales, initial latents, and the sums that they are made of."""
