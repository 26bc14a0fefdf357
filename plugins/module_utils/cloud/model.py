"""What a tenant is to have in its cloud, and what there is: plain data, so that planning needs no cloud."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WORLD = ("0.0.0.0/0", "::/0")


@dataclass(frozen=True, kw_only=True)
class Wish:
    """The inventory's lines about one tenant's cloud, named as the module's options."""

    tenant: str
    cloud: str = ""
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
    ssh_cidrs: Sequence[str] = ()
    database_cidrs: Sequence[str] = ()
    database_port: int = 11039
    rules: Sequence[Mapping[str, Any]] = ()
    authorized_keys: Sequence[str] = ()
    operator_keys: Sequence[str] = ()
    further_keys: Sequence[str] = ()
    contact: Mapping[str, Any] = field(default_factory=dict)
    also: Sequence[Mapping[str, Any]] = ()
    credential_id: str = ""
    credential_expires: str = ""
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
    def eodata_port(self) -> str:
        """The name of the port on the archive's network."""
        return f"{self.name}-eodata"

    @property
    def mark(self) -> str:
        """The description of what is ours, where there is no metadata."""
        return f"cbm-onboarding: {self.tenant}"

    def marked(self, description: str) -> bool:
        """Whether a description says that the thing is this tenant's; addresses in reserve are numbered."""
        return description == self.mark or description.startswith(f"{self.mark}, ")

    def owns(self, metadata: Mapping[str, str]) -> bool:
        """Whether a server's or volume's metadata say that it is this tenant's."""
        return metadata.get("cbm_tenant") == self.tenant


@dataclass(frozen=True)
class Flavor:
    """A size of servers."""

    name: str
    vcpus: int
    memory_mb: int
    id: str = ""

    @property
    def words(self) -> str:
        """`eo2.2xlarge (8 vCPUs, 32 GB)`."""
        return f"{self.name} ({self.vcpus} vCPUs, {self.memory_mb / 1024:g} GB)"


@dataclass(frozen=True)
class Image:
    """What a server starts from."""

    id: str
    name: str
    status: str = "active"
    created: str = ""


@dataclass(frozen=True)
class Network:
    """A network that the project sees."""

    id: str
    name: str
    external: bool = False


@dataclass(frozen=True)
class Server:
    """A virtual machine."""

    id: str
    name: str
    status: str = "ACTIVE"
    flavor: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    addresses: Sequence[str] = ()
    fault: str = ""


@dataclass(frozen=True)
class Volume:
    """A disk."""

    id: str
    name: str
    size: int
    status: str = "available"
    type: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
    attached_to: Sequence[str] = ()


@dataclass(frozen=True)
class Rule:
    """A rule of a security group."""

    direction: str
    ether_type: str
    protocol: str | None = None
    port_min: int | None = None
    port_max: int | None = None
    remote_ip: str | None = None
    remote_group: str | None = None
    description: str = ""
    id: str = ""


@dataclass(frozen=True)
class Group:
    """A security group."""

    id: str
    name: str
    description: str = ""
    rules: Sequence[Rule] = ()


@dataclass(frozen=True)
class Port:
    """An interface of a server, or one that is to be."""

    id: str
    name: str
    network_id: str = ""
    description: str = ""
    device_id: str = ""
    group_ids: Sequence[str] = ()
    addresses: Sequence[str] = ()


@dataclass(frozen=True)
class Address:
    """A floating IP."""

    id: str
    address: str
    description: str = ""
    port_id: str = ""
    network_id: str = ""


@dataclass(frozen=True)
class Quota:
    """How much of a thing the project may have (-1: as much as it likes), and has."""

    limit: int
    used: int


@dataclass(frozen=True)
class Survey:
    """What there is in a project."""

    region: str = ""
    project_id: str = ""
    regions: Sequence[str] = ()
    credential_id: str = ""
    credential_expires: str = ""
    flavors: Sequence[Flavor] = ()
    images: Sequence[Image] = ()
    networks: Sequence[Network] = ()
    volume_types: Sequence[str] = ()
    servers: Sequence[Server] = ()
    volumes: Sequence[Volume] = ()
    groups: Sequence[Group] = ()
    ports: Sequence[Port] = ()
    addresses: Sequence[Address] = ()
    # a quota that the cloud does not tell is not in here
    quotas: Mapping[str, Quota] = field(default_factory=dict)
