"""MLflow: runs of train, test and searches, each record delivered exactly once."""
