"""A model of deployments larger than this machine, fed with what was measured on it."""
