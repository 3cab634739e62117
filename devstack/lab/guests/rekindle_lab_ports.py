"""Binds every port of a zone's Neutron to a tap device, which Nova makes with the guest and takes away with it.

The mechanism drivers that come with Neutron bind a port where an agent on the host says that it lives, and then the
agent sees to the network. Here is no agent; guest_dhcp.py sees to what there is of one. Nothing is filtered.
"""

from neutron_lib import constants
from neutron_lib.api.definitions import portbindings
from neutron_lib.plugins.ml2 import api


class Ports(api.MechanismDriver):
    def initialize(self) -> None:
        pass

    @property
    def connectivity(self) -> str:
        return portbindings.CONNECTIVITY_L2

    def bind_port(self, context: api.PortContext) -> None:
        # With a filter, so that Nova sets up none. Nobody says later that the port got up, so it counts as up at once.
        details = {portbindings.CAP_PORT_FILTER: True}
        for segment in context.segments_to_bind:
            context.set_binding(segment[api.ID], portbindings.VIF_TYPE_TAP, details, constants.PORT_STATUS_ACTIVE)
            return
