"""The parts that know tenants, made once per process and passed down together."""

from __future__ import annotations

from dataclasses import dataclass

from longfold_server.tenants.owners import Owners
from longfold_server.tenants.salt import Salts
from longfold_server.tenants.usage import Usage


@dataclass(frozen=True, slots=True)
class Tenancy:
    """What is kept per tenant."""

    usage: Usage
    owners: Owners
    salts: Salts
