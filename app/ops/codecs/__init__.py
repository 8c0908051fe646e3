"""Compressed streams: one writer and one reader for every codec, used by several operations."""
