"""Paper A: adapting a model to labelled slices, and the evidence that it helped."""
