"""Hyperparameter search over Themo's training function, on Ray Tune with Optuna and ASHA."""
