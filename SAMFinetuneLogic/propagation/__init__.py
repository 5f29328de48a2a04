"""A few annotated slices in, the rest of the volume out, with a statement of how far to trust it."""
