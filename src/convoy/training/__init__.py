"""Training on Horovod's ranks. It does not depend on MLflow: the job passes a reporter."""
