"""Tasks as data: a YAML file a task, read into trials, stimuli and responses."""
