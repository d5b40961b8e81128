"""Training on Horovod's ranks. Knows nothing of MLflow: the job hands it a reporter."""
