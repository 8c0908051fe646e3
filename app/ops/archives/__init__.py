"""Archives: what `archive` and `extract` are made of. No member ever names a path of ours."""
