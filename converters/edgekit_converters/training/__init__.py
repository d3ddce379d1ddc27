"""Training: the one loop that fine-tuning, training for a precision and distillation go through."""
