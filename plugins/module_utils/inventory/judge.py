"""The whole judgement of what one host's variables say."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from . import pools, seasons
from .names import unknown
from .problem import Problem
from .specification import Specification
from .tenants import Tenant, collisions
from .values import judge as judge_values
from .values import missing


def problems(
    host: str,
    values: Mapping[str, Any],
    specification: Specification,
    *,
    names: Collection[str],
    mapped: Collection[str] = (),
    required_of: Collection[str] = (),
    tenants: Sequence[Tenant] = (),
) -> list[Problem]:
    """All mistakes that can be seen in variables alone.

    Args:
        host: whose variables these are.
        values: what the inventory says, evaluated; variables that cannot be evaluated yet are left out.
        specification: the roles.
        names: all variables of the host.
        mapped: variables that this project sets itself.
        required_of: roles whose required variables must be there.
        tenants: all tenants of the inventory.
    """
    return [
        *unknown(names, specification, mapped),
        *missing(names, specification, required_of),
        *judge_values(values, specification),
        *pools.judge(values, specification.defaults),
        *seasons.judge(values),
        *collisions(host, tenants),
    ]
