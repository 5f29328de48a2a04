"""Images and labels that are computed, not measured: for training the default model, for the demo and for tests."""
