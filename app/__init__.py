"""Offload: file, image and URL work taken off other people's back ends."""

__version__ = "0.2.0"
