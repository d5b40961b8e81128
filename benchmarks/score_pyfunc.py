"""An MLflow model that decodes: what a user has to write to score files with ``mlflow.pyfunc.spark_udf``."""

import mlflow
from score_decode import decode


class Classifier(mlflow.pyfunc.PythonModel):
    """Files of images -> probabilities."""

    def load_context(self, context):
        """Load the network."""
        import keras

        self.network = keras.saving.load_model(context.artifacts["network"], compile=False)

    def predict(self, context, model_input, params=None):
        """Probabilities of the files in the first column."""
        contents = model_input.iloc[:, 0]
        return self.network.predict(decode(contents, self.network.input_shape[1:]), verbose=0)


mlflow.models.set_model(Classifier())
