"""What a prompt gives without a model: the answers that a model has to beat."""
