"""Offload measured beside the tutorial's design; README.md says how to run it and what it tells."""
