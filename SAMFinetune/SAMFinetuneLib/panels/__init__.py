"""The sections of the module, one class each, in the order of the work."""
