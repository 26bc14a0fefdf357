"""Neutron's ports: bound and active at once, without agents. Docker plugs them when the server is made."""

from typing import Any

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class InstantMechanismDriver(api.MechanismDriver):
    """Binds every port to its first segment."""

    def initialize(self) -> None:
        """Nothing to set up."""

    @property
    def connectivity(self) -> str:
        """What kind of network this is, to the API."""
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context: Any) -> None:
        """Called by Neutron when a server takes the port."""
        for segment in context.segments_to_bind[:1]:
            context.set_binding(
                segment[api.ID],
                "bridge",
                {portbindings.CAP_PORT_FILTER: True},
                status=constants.PORT_STATUS_ACTIVE,
            )
