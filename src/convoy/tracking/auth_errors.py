"""Errors of a tracking server that rejects the credentials: its message, and which credentials to renew."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager

import mlflow
import requests
from mlflow.exceptions import MlflowException

from convoy.config.tracking import setting_of
from convoy.errors import TrackingError
from convoy.tracking.redaction import without_environment, without_secrets

_PAGE = "not in a valid JSON format"  # in a message of MLflow's
_REFUSED = (401, 403)
_CODES = re.compile("TOKEN|CREDENTIAL|UNAUTH|PERMISSION")  # of servers with codes that MLflow does not define
_OF_DATABRICKS = ("DATABRICKS_TOKEN", "DATABRICKS_CLIENT_SECRET")


def refusal(error: BaseException, uri: str | None = None, field: str = "uri") -> TrackingError | None:
    """Return the error to report for an MLflow exception, or None if the server did not reject the credentials.

    Args:
        error: Exception of an MLflow call.
        uri: The tracking store; None is the current one.
        field: Field of the configuration that has the URI.
    """
    status, page = _status(error), _PAGE in str(error)
    if not status and not page:
        return None
    uri = mlflow.get_tracking_uri() if uri is None else uri
    said = without_environment(" ".join(_message(error).split()))[:200].rstrip(". ")
    shown = f"{setting_of(field, uri)} {without_secrets(f'tracking.{field}', uri)!r}"
    if page:  # with status 200, as gateways do whose session has expired
        return TrackingError(
            f"{shown} does not answer with JSON, but e.g. with a login page; correct the address, or {_mend(uri)}"
        )
    return TrackingError(f"{shown} rejects the credentials ({status}: {said}); {_mend(uri)}")


@contextmanager
def auth_errors_explained(then: str = "") -> Iterator[None]:
    """Raise ``TrackingError`` if the server rejects the credentials inside the block; pass on all other exceptions.

    Args:
        then: Next step once the credentials are renewed.
    """
    try:
        yield
    except (MlflowException, requests.HTTPError) as error:
        if refused := refusal(error):
            raise TrackingError(f"{refused}{then}") from None
        raise


def _status(error: BaseException) -> str:
    """Return the status, or the server's own code, of a rejection; empty for any other error."""
    if isinstance(error, requests.HTTPError) and error.response is not None:  # of artifacts
        return f"status {error.response.status_code}" if error.response.status_code in _REFUSED else ""
    if not isinstance(error, MlflowException):
        return ""
    if (status := error.get_http_status_code()) in _REFUSED:
        return f"status {status}"
    code = str(getattr(error, "json", {}).get("error_code", ""))
    return code if _CODES.search(code) else ""


def _message(error: BaseException) -> str:
    """Return the server's message, without what MLflow's client puts before it."""
    text = str(getattr(error, "json", {}).get("message") or error) if isinstance(error, MlflowException) else str(error)
    body = re.search(r"Response body: '([^<].*)'", text, re.DOTALL)  # not a page
    return body[1] if body else text


def _mend(uri: str) -> str:
    """Name the credentials to renew: https://mlflow.org/docs/latest/self-hosting/security/basic-http-auth/."""
    set_, access = os.environ.get, "or give their user access"
    if uri.startswith("databricks"):
        name = next(filter(set_, _OF_DATABRICKS), None)
        return f"renew {name or 'those of ~/.databrickscfg, or of the cluster,'} {access}"
    if set_("MLFLOW_TRACKING_USERNAME") and set_("MLFLOW_TRACKING_PASSWORD"):
        return f"correct MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, {access}"
    if set_("MLFLOW_TRACKING_TOKEN"):
        return f"renew MLFLOW_TRACKING_TOKEN, {access}"
    return "set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
