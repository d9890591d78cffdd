"""What every stage shares about a person: record, edges, networks, reliability, coverage and the GLM of a run."""
