"""Records in tar shards with a manifest: how they are written, split, and read again in a fixed order."""
