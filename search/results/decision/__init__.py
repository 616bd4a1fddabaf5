"""Is there evidence enough? Looks at a study that goes on until its arms are decided."""
