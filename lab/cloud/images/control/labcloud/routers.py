"""Neutron's routers and floating IPs: rows in its tables; a floating IP is a NIC of a server's container."""

from typing import Any

from neutron.services.l3_router import l3_router_plugin
from neutron_lib import constants
from neutron_lib import context as contexts
from neutron_lib.plugins import directory
from oslo_log import log as logging

from labcloud import engine

LOG = logging.getLogger(__name__)


class ContainerRouterPlugin(l3_router_plugin.L3RouterPlugin):
    """The reference plugin without its agents."""

    @classmethod
    def get_plugin_type(cls) -> str:
        """The name under which the API finds it."""
        return "L3_ROUTER_NAT"

    def create_floatingip(self, context: Any, floatingip: Any) -> Any:
        """With a port in the request it is plugged at once."""
        return self._plug(super().create_floatingip(context, floatingip))

    def update_floatingip(self, context: Any, id: str, floatingip: Any) -> Any:  # noqa: A002 - Neutron's name
        """Moves it from one server to another."""
        before = self.get_floatingip(context, id)
        after = super().update_floatingip(context, id, floatingip)
        if before["port_id"] != after["port_id"]:
            self._unplug(before)
            after = self._plug(after)
        return after

    def delete_floatingip(self, context: Any, id: str) -> None:  # noqa: A002 - Neutron's name
        """Takes it off its server first."""
        self._unplug(self.get_floatingip(context, id))
        super().delete_floatingip(context, id)

    def _plug(self, address: Any) -> Any:
        status = constants.FLOATINGIP_STATUS_DOWN
        if address["port_id"]:
            status = constants.FLOATINGIP_STATUS_ACTIVE
            try:
                engine.plug_floating_ip(self._server(address), address["floating_ip_address"])
            except Exception:  # the API shall answer, and show it
                LOG.exception("The floating IP %s could not be plugged", address["floating_ip_address"])
                status = constants.FLOATINGIP_STATUS_ERROR
        self.update_floatingip_status(contexts.get_admin_context(), address["id"], status)
        return {**address, "status": status}

    def _unplug(self, address: Any) -> None:
        if address["port_id"]:
            try:
                engine.unplug_floating_ip(self._server(address), address["floating_ip_address"])
            except Exception:  # whatever is left goes with the server
                LOG.exception("The floating IP %s could not be unplugged", address["floating_ip_address"])

    @staticmethod
    def _server(address: Any) -> str:
        """The server that has the address's port; a port may be without one."""
        return directory.get_plugin().get_port(contexts.get_admin_context(), address["port_id"])["device_id"]
