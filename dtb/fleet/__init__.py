"""Everybody at once: simulations, interventions and in-silico trials on a pool of Ray actors."""
