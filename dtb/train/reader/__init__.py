"""Reading latents from connectomes: the stack of regressions that a twin's latents begin at."""
