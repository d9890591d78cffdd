"""The search for a change of a connectome that changes what a twin does: pure PyTorch."""
