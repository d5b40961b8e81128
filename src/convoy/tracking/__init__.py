"""MLflow: runs, pictures, model packages, the registry. No other package imports mlflow."""
