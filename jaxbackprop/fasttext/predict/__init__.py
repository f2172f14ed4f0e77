"""Labels, probabilities and vectors from a trained model."""
