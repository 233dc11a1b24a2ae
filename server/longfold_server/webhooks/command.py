"""`longfold-server webhook-secret`: what a receiver verifies webhooks with. Imports nothing heavy to show help."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from longfold_server.errors import ConfigError
from longfold_server.webhooks.signing import Signer, new_secret

if TYPE_CHECKING:
    from longfold_server.settings import Settings

TEXT = "print the secret with which a receiver verifies webhooks, or make a new one"
DESCRIPTION = (
    "Print the secrets of a tenant's receivers, the newest first; they follow from LONGFOLD_WEBHOOK_SECRETS. "
    "Without --tenant: those of a service without API keys."
)


def add(parser: argparse.ArgumentParser) -> None:
    """The grammar of `webhook-secret`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--tenant", default="", metavar="T", help="as `keys list` shows it, needed where there are API keys"
    )
    which.add_argument("--new", action="store_true", help="make a secret for LONGFOLD_WEBHOOK_SECRETS instead")


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Does what was asked; the exit status. Raises `ConfigError`."""
    from longfold_server.tenants.keys import static_tenant

    if arguments.new:
        secrets = [new_secret()]
    elif not settings.webhook_secrets:
        raise ConfigError("LONGFOLD_WEBHOOK_SECRETS is not set; --new makes a secret for it")
    elif settings.api_keys and not arguments.tenant:
        tenants = ", ".join(static_tenant(key.get_secret_value()) for key in settings.api_keys)
        raise ConfigError(f"say --tenant: the keys in LONGFOLD_API_KEYS are, in their order, of the tenants {tenants}")
    else:
        signer = Signer([secret.get_secret_value() for secret in settings.webhook_secrets])
        secrets = signer.secrets(arguments.tenant)
    sys.stdout.write("".join(f"{secret}\n" for secret in secrets))
    return 0
