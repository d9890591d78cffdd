"""What a twin predicts beside baselines, and the certificate that says whether it is personal."""
