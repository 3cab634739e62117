"""A refusal's words, where the user who asked can read them: as a Cinder user message.

Cinder takes a message's text from a table of its own, by a number, so that no driver's text gets out; a driver can't add
to the table, for it is cinder-api that reads it. What a driver may write is the event's id, which `cinder message-list`
and `openstack volume message show` print: the reason stands there, after the id that Cinder itself would give. With
`rekindle_cinder.messages.Extension` among cinder-api's extensions it stands in the message's text too.
"""

from __future__ import annotations

import datetime
from typing import Any

from cinder import context as cinder_context
from cinder.api import extensions
from cinder.api.openstack import wsgi
from cinder.db import api as db
from cinder.message import api as message_api
from cinder.message import message_field
from oslo_log import log as logging
from oslo_utils import timeutils

from rekindle_cinder.errors import Refused, SidecarError, cut

LOG = logging.getLogger(__name__)

MARK = " rekindle: "
"""Between Cinder's id of the event and the reason."""

_Action = message_field.Action
_Detail = message_field.Detail

ACTIONS: dict[str, tuple[str, Any]] = {
    "create": (_Action.CREATE_VOLUME_FROM_BACKEND[0], _Detail.DRIVER_FAILED_CREATE),
    "clone": (_Action.CREATE_VOLUME_FROM_BACKEND[0], _Detail.DRIVER_FAILED_CREATE),
    "extend": (_Action.EXTEND_VOLUME[0], _Detail.DRIVER_FAILED_EXTEND),
    "snapshot_create": (_Action.SNAPSHOT_CREATE[0], _Detail.SNAPSHOT_CREATE_ERROR),
    "snapshot_delete": (_Action.SNAPSHOT_DELETE[0], _Detail.SNAPSHOT_DELETE_ERROR),
    "attach": (_Action.ATTACH_VOLUME[0], _Detail.ATTACH_ERROR),
    "unmanage": (_Action.UNMANAGE_VOLUME[0], _Detail.VOLUME_INVALID_STATE),
    "backup": (_Action.BACKUP_CREATE[0], _Detail.BACKUP_CREATE_DEVICE_ERROR),
    "failover": ("", _Detail.VOLUME_INVALID_STATE),
}
"""The sidecar's word for an operation: Cinder's number for the action, and what of Cinder's table comes nearest.
An operation that Cinder has no action for is shown as 'unknown action'."""


def for_users(error: SidecarError) -> str:
    """A refusal's words are made for users. Any other error tells of sockets and programs, which are the operator's."""
    if not isinstance(error, Refused) or error.status >= 500:
        return f"the replication service cannot say whether this may go on; an operator has to look [{error.code}]"
    return f"{error.field}: {error}" if error.field else str(error)


def tell(context: Any, operation: str, volume_id: str, error: SidecarError, project_id: str | None = None) -> None:
    """Write the message, to that project or to the caller's. That it can't be written is no reason to fail differently."""
    action, detail = ACTIONS.get(operation, ("", _Detail.VOLUME_INVALID_STATE))
    # What is said of one volume in a failover's answer is about that volume, whatever its kind.
    words = str(error) if operation == "failover" else for_users(error)
    try:
        context = context or cinder_context.get_admin_context()
        db.message_create(
            context,
            {
                "project_id": project_id or context.project_id,
                "request_id": context.request_id,
                "resource_type": message_field.Resource.VOLUME,
                "resource_uuid": volume_id,
                "action_id": action,
                "message_level": "ERROR",
                "event_id": cut(f"VOLUME_VOLUME_{action or '000'}_{detail[0]}{MARK}{words}"),
                "detail_id": detail[0],
                "expires_at": timeutils.utcnow() + datetime.timedelta(seconds=message_api.CONF.message_ttl),
            },
        )
    except Exception:
        LOG.exception("The user message about volume %s could not be written: %s", volume_id, error)


class _Controller(wsgi.Controller):
    """Adds the reason to what cinder-api shows of a message."""

    @wsgi.extends  # type: ignore[untyped-decorator]
    def show(self, req: Any, resp_obj: Any, id: str) -> None:
        _spell_out(resp_obj.obj.get("message"))

    @wsgi.extends  # type: ignore[untyped-decorator]
    def index(self, req: Any, resp_obj: Any) -> None:
        for message in resp_obj.obj.get("messages", []):
            _spell_out(message)


def _spell_out(message: Any) -> None:
    if isinstance(message, dict) and MARK in (message.get("event_id") or ""):
        message["event_id"], reason = message["event_id"].split(MARK, 1)
        message["user_message"] = f"{message.get('user_message')} {reason}"


class Extension(extensions.ExtensionDescriptor):
    """Replication's refusals in the text of user messages."""

    name = "RekindleMessages"
    alias = "rekindle-messages"
    updated = "2026-11-25T00:00:00+00:00"

    def get_controller_extensions(self) -> list[Any]:
        return [extensions.ControllerExtension(self, "messages", _Controller())]
