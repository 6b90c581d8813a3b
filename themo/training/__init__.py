"""The training function: batches in, updates and reports out."""
