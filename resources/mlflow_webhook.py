"""The webhook with which MLflow's server says that an alias was set."""

from typing import Final

import mlflow
from mlflow.entities.webhook import Webhook, WebhookEvent
from mlflow.exceptions import MlflowException

NAME: Final = "tapewatch-scoring"
#: Where the scoring service takes it.
PATH: Final = "/webhooks/mlflow"
EVENT: Final = "model_version_alias.created"


class WebhookError(RuntimeError):
    """MLflow does not take the webhook; the message says why and the way out."""


def ensure_webhook(client: mlflow.MlflowClient, url: str, secret: str) -> str:
    """Let MLflow post each alias that is set to `url`, signed with `secret`; an earlier webhook of ours is changed. Returns its id.

    Raises:
        WebhookError: MLflow refuses the address, or cannot be asked.
    """
    try:
        known = next((each for each in _webhooks(client) if each.name == NAME), None)
        event = [WebhookEvent.from_str(EVENT)]
        if known is None:
            made = client.create_webhook(NAME, url, event, description="Tapewatch's scoring service", secret=secret)
            return str(made.webhook_id)
        client.update_webhook(known.webhook_id, url=url, events=event, secret=secret)
    except MlflowException as error:
        raise WebhookError(
            f"MLflow does not take a webhook to {url}: {error.message.splitlines()[0]}. It posts to public https addresses "
            "alone, unless its server is started with MLFLOW_WEBHOOK_ALLOWED_SCHEMES and MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS"
        ) from error
    return str(known.webhook_id)


def _webhooks(client: mlflow.MlflowClient) -> list[Webhook]:
    found, token = [], None
    while True:
        page = client.list_webhooks(max_results=100, page_token=token)
        found += list(page)
        token = page.token
        if not token:
            return found
