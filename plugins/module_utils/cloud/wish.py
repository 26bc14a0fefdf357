"""What a tenant is to have in its cloud: the variables of the role tenant_cloud, as one typed value."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

Mappings = list[dict[str, Any]]
# how Ansible calls the types of the fields
KINDS: dict[Any, tuple[str, ...]] = {
    str: ("str",),
    int: ("int",),
    float: ("float",),
    bool: ("bool",),
    dict[str, Any]: ("dict",),
    list[str]: ("list", "str"),
    Mappings: ("list", "dict"),
}


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The role's variables without their prefix; its argument_specs.yml says what each means."""

    tenant: str
    entry: str = ""
    state_dir: str = ""
    config_file: str = ""
    region: str = ""
    image: str = ""
    flavor: str = ""
    min_vcpus: int = 8
    min_memory_gb: float = 16
    network: str = ""
    eodata_network: str = ""
    external_network: str = ""
    floating_ips: int = 1
    floating_ip: str = ""
    volume: str = ""
    volume_type: str = ""
    volume_gb: int = 0
    needed_gb: float = 0
    ssh_cidrs: list[str] = field(default_factory=list)
    database_cidrs: list[str] = field(default_factory=list)
    database_port: int = 11039
    rules: Mappings = field(default_factory=list)
    authorized_keys: list[str] = field(default_factory=list)
    operator_keys: list[str] = field(default_factory=list)
    further_keys: list[str] = field(default_factory=list)
    login_user: str = ""
    host_keys: list[str] = field(default_factory=list)
    timeout: int = 900
    ssh_timeout: int = 600
    also: list[str] = field(default_factory=list)
    contact: dict[str, Any] = field(default_factory=dict)
    delete_data: bool = False

    @property
    def name(self) -> str:
        """The name of server, group and port."""
        return f"cbm-{self.tenant}"

    @property
    def volume_name(self) -> str:
        """The name of the data volume."""
        return f"{self.name}-data"

    @property
    def mark(self) -> str:
        """The description that marks a resource of the tenant which has no metadata."""
        return f"cbm-onboarding: {self.tenant}"

    def marked(self, description: str | None) -> bool:
        """Whether a description says that the thing is this tenant's; addresses in reserve are numbered."""
        return description == self.mark or (description or "").startswith(f"{self.mark}, ")

    def owns(self, metadata: Mapping[str, str] | None) -> bool:
        """Whether a server's or volume's metadata say that it is this tenant's."""
        return (metadata or {}).get("cbm_tenant") == self.tenant


def argument_spec() -> dict[str, dict[str, Any]]:
    """The fields as options of an Ansible module; public keys are not secret."""
    names = ("type", "elements")
    return {
        # only lists have elements
        each.name: dict(zip(names, KINDS[each.type], strict=False))
        | {"no_log": False, "required": each.default is each.default_factory}
        for each in fields(Wish)
    }
