"""MLflow: runs, pictures, model packages, the registry. No other room imports mlflow."""
