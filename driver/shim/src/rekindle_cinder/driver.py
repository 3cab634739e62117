"""The driver that cinder.conf names. Its own are the failover hooks: each is one call to the sidecar.

    PatientRBDDriver      comes up with a dead cluster        startup.py
    GuardedRBDDriver      asks before it touches a volume     guarded.py
    ReplicatedRBDDriver   replicates what it makes            replicated.py
    ManagingRBDDriver     takes in what is there already      managing.py
    RekindleRBDDriver     fails over, hosts and groups        here

Of several cinder-volumes in one cluster each is such a driver: members.py keeps it in step with the others.

After a failover the data path is upstream's: the mons, user and secret of the replication_device that is active.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from cinder import context as cinder_context
from cinder import exception, interface
from cinder.volume import volume_utils
from oslo_log import log as logging

from rekindle_cinder import members, messages, words
from rekindle_cinder.client import VolumeResult, each_part, in_parts
from rekindle_cinder.errors import Refused, SidecarError, cut
from rekindle_cinder.faults import RekindleFault, as_fault
from rekindle_cinder.managing import ManagingRBDDriver
from rekindle_cinder.mirrored import is_mirrored

LOG = logging.getLogger(__name__)

DEFAULT = members.HOME


@interface.volumedriver
class RekindleRBDDriver(ManagingRBDDriver):
    """Cinder's RBD driver, with replication by the Rekindle sidecar.

    Version history:

    .. code-block:: none

        1.0.0 - Failover, failback, groups, freeze, types, the other zone's copies

    """

    VERSION = "1.0.0"

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._group_in_error = False

    # One of several in a cluster.

    def do_setup(self, context: Any) -> None:
        active = self._clusters_word(context)
        if active is not None:
            self._active_backend_id = active
        super().do_setup(context)

    def _clusters_word(self, context: Any) -> str | None:
        """Where the cluster serves from, if there is one and it says so. A database that does not answer is asked again
        with the next stats, and until then the member stays where it is."""
        try:
            return members.served_from(context, self.cluster_name, self.host)
        except Exception as error:
            LOG.warning("Where cluster %s is served from is not known now: %s", self.cluster_name, error)
            return None

    # The whole backend.

    def failover_host(
        self, context: Any, volumes: Any, secondary_id: str | None = None, groups: Any = None
    ) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
        target, volume_updates, group_updates = self.failover(context, volumes, secondary_id, groups)
        self.failover_completed(context, target)
        return target, volume_updates, group_updates

    def failover(
        self, context: Any, volumes: Any, secondary_id: str | None = None, groups: Any = None
    ) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
        """Fail over the volumes that have to do with replication; the others are told apart and left alone."""
        if not self._is_replication_enabled:
            raise exception.UnableToFailOver(reason="no replication_device is configured for this backend")
        self._refuse_unknown(secondary_id)
        ours = [volume for volume in volumes if self._is_ours(volume)]
        target, results = self._fail_over(ours, secondary_id)
        updates = self._failover_updates(context, ours, results, target, target)
        self._stayed = frozenset(result.id for result in results if result.replication_status == words.ENABLED)
        ours_ids = {volume.id for volume in ours}
        updates += [
            {"volume_id": volume.id, "updates": words.left_alone()} for volume in volumes if volume.id not in ours_ids
        ]
        return target, updates, self._group_updates(groups or [], ours, results, target)

    def failover_completed(self, context: Any, secondary_id: str | None = None) -> None:
        """Take the backend's connection from now on. '' and None are what the manager says for the zone's own."""
        self._active_config = self._get_target_config(secondary_id)
        self._active_backend_id = DEFAULT if secondary_id in words.AT_HOME else secondary_id
        if secondary_id in words.AT_HOME:
            # Nothing stays behind a service that is at home. Another member may carry out the next failover, and its
            # volumes would be taken for those that this one's failback brought here.
            self._stayed = frozenset()
        try:
            self._set_default_secret_uuid()
        except Exception as error:
            # The volumes are there. Of an exception Cinder's manager makes that the failover failed, and drops their ends.
            LOG.error("The fsid of backend '%s' is not known; each attachment asks for it: %s", secondary_id, error)

    def freeze_backend(self, context: Any) -> bool:
        request = getattr(context, "request_id", None) or "no request id"
        with as_fault():
            self._sidecar.freeze(self._active_backend_id or None, f"cinder freeze-host ({request})")
        return True

    def thaw_backend(self, context: Any) -> bool:
        with as_fault():
            self._sidecar.thaw(self._active_backend_id or None)
        try:
            members.enable_thawed(context, self.cluster_name)
        except Exception as error:
            LOG.warning("It is thawed, and a member of cluster %s may still be disabled: %s", self.cluster_name, error)
        return True

    # Generic volume groups.

    def enable_replication(self, context: Any, group: Any, volumes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        volumes = list(volumes)
        by_specs: dict[tuple[tuple[str, str], ...], list[Any]] = {}
        for volume in volumes:
            by_specs.setdefault(tuple(sorted(self._specs(volume.volume_type).items())), []).append(volume)
        backend = self._active_backend_id or None
        results: list[VolumeResult] = []
        try:
            self._refuse_scattered(group, volumes)
            with as_fault():
                for specs, alike in by_specs.items():
                    refs = [self._described(volume, volume.volume_type) for volume in alike]
                    results += each_part(refs, partial(self._sidecar.replicate_again, backend, dict(specs)))
        except exception.CinderException as error:
            return self._not_changed(context, "replicate", volumes, error)
        return self._group_answer(results, words.ENABLED)

    def disable_replication(self, context: Any, group: Any, volumes: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        volumes = list(volumes)
        refs = [self._ref(volume) for volume in volumes]
        try:
            self._refuse_scattered(group, volumes)
            with as_fault():
                results = each_part(refs, partial(self._sidecar.unreplicate, self._active_backend_id or None))
        except exception.CinderException as error:
            return self._not_changed(context, "unreplicate", volumes, error)
        return self._group_answer(results, "disabled")

    def failover_replication(
        self, context: Any, group: Any, volumes: Any, secondary_backend_id: str | None = None
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Fail over a group alone. Its volumes keep in mind where they are, for their service has not moved."""
        volumes = list(volumes)
        try:
            self._refuse_scattered(group, volumes)
            self._refuse_unknown(secondary_backend_id)
            target, results = self._fail_over(volumes, secondary_backend_id)
        except exception.CinderException as error:
            return self._not_moved(context, volumes, error)
        service_in = self._active_backend_id or DEFAULT
        updates = [
            {"id": update["volume_id"], **update["updates"]}
            for update in self._failover_updates(context, volumes, results, target, service_in)
        ]
        well = words.ENABLED if target == DEFAULT else words.FAILED_OVER
        word = words.group_word(results, well, words.ERROR)
        self._group_in_error = self._group_in_error or word == words.ERROR
        return {"replication_status": word}, updates

    def _not_moved(
        self, context: Any, volumes: Sequence[Any], error: exception.CinderException
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A group's failover that was refused as a whole. Of an exception Cinder's manager makes that all its volumes are
        in error, and forgets what they were: none of them could be attached any more."""
        why = _behind(error, "no_failover")
        LOG.error("A group was not failed over: %s", error)
        updates = []
        for volume in volumes:
            away = self._backend_of(volume) not in words.AT_HOME
            messages.tell(context, "failover", volume.id, why, _project_of(volume))
            update = words.stayed(why, away) if why.nothing_was_done else words.failed(volume, why)
            updates.append({"id": volume.id, **update})
        self._group_in_error = True
        return {"replication_status": words.ERROR}, updates

    def _not_changed(
        self, context: Any, operation: str, volumes: Sequence[Any], error: exception.CinderException
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """A group whose replication was not put on or taken off. As above; and none of its volumes went anywhere, so each
        keeps its status."""
        why = _behind(error, "no_change")
        LOG.error("The replication of a group was not changed (%s): %s", operation, error)
        updates = []
        for volume, word in zip(volumes, self._words_of(volumes), strict=True):
            messages.tell(context, operation, volume.id, why, _project_of(volume))
            update = {"replication_status": word, "replication_extended_status": cut(str(why))}
            updates.append({"id": volume.id, **update})
        self._group_in_error = True
        return {"replication_status": words.ERROR}, updates

    def _words_of(self, volumes: Sequence[Any]) -> list[str]:
        """Each volume's word before Cinder's API wrote `enabling` or `disabling` over it, by its image, for the sidecar may
        be away. What is not replicated, or is not known, is in error: a group that is, is taken up again by disabling it
        alone, and Cinder refuses that while a volume of it is called disabled."""
        found = []
        answers = True
        for volume in volumes:
            try:
                mirrored = answers and is_mirrored(self._at(volume), volume.name)
            except SidecarError as error:
                # Nor would it say it of the next: each would be waited for.
                LOG.warning("Whether the volumes of the group are replicated is not known: %s", error)
                answers = mirrored = False
            found.append(words.ENABLED if mirrored else words.ERROR)
        return found

    def get_replication_error_status(self, context: Any, groups: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """How the groups' volumes are now. What cannot be asked is not said to be well."""
        group_updates: list[dict[str, Any]] = []
        volume_updates: list[dict[str, Any]] = []
        in_error = False
        for group in groups:
            volumes = list(group.volumes)
            try:
                results = self._status(volumes)
            except SidecarError as error:
                LOG.warning("The replication of group %s is not known: %s", group.id, error)
                in_error = True
                continue
            # A zone that is silent for a moment says nothing of its volumes, and Cinder would fail that group over no more.
            known = [result for result in results if result.status != words.UNKNOWN]
            in_error = in_error or len(known) < len(results)
            results = known
            word = words.group_word(results, str(group.replication_status), words.ERROR)
            if any(result.replication_status == words.ERROR for result in results):
                word = words.ERROR
            in_error = in_error or word == words.ERROR
            if word != group.replication_status:
                group_updates.append({"group_id": group.id, "replication_status": word})
            volume_updates += [
                {"volume_id": result.id, "replication_status": words.ERROR}
                for result in results
                if result.failure or result.replication_status == words.ERROR
            ]
        self._group_in_error = in_error
        return group_updates, volume_updates

    def _update_volume_stats(self) -> None:
        self._follow_cluster()
        super()._update_volume_stats()
        if self._group_in_error:
            # Cinder's manager takes it as the wish to be asked for the groups' states.
            self._stats["replication_status"] = words.ERROR

    def _follow_cluster(self) -> None:
        """A broadcast that came while the service was starting was heard by nobody: what it said is looked up here."""
        context = cinder_context.get_admin_context()
        active = self._clusters_word(context)
        if active is None or active == (self._active_backend_id or DEFAULT):
            return
        LOG.warning("Cluster %s is served from '%s', and so is this member from now on.", self.cluster_name, active)
        try:
            self.failover_completed(context, active)
        except exception.InvalidReplicationTarget as error:
            LOG.error("This member cannot follow its cluster: %s", error)

    # The one call, and what becomes of its results.

    def _fail_over(self, volumes: Sequence[Any], target: str | None) -> tuple[str, list[VolumeResult]]:
        """Ask for the failover, in as many calls as the volumes need. A refusal of the first is one of the whole, and
        InvalidReplicationTarget is the one exception after which Cinder lets it be called again. So it is, too, where no
        answer came: what was done by then stays done, and the next call takes up there. After the first answer there
        is no way back, and what cannot be asked for any more is failed, volume by volume."""
        backend = self._active_backend_id or None
        refs = [self._ref(volume) for volume in volumes]
        first, *rest = in_parts(refs)
        try:
            answer = self._sidecar.failover(backend, target, first)
        except SidecarError as error:
            known = "nothing was changed" if error.nothing_was_done else "how far it got is not known; call it again"
            raise exception.InvalidReplicationTarget(reason=f"{error} ({known})") from error
        self._get_target_config(answer.target)
        results = list(answer.volumes)
        for part in rest:
            try:
                results += self._sidecar.failover(backend, answer.target, part).volumes
            except SidecarError as error:
                results += [_not_done(ref.id, ref.image, error) for ref in part]
        return answer.target, results

    @staticmethod
    def _failover_updates(
        context: Any, volumes: Sequence[Any], results: Sequence[VolumeResult], target: str, service_in: str
    ) -> list[dict[str, Any]]:
        """`service_in`: where the service is after it. What is `enabled` is at home, whatever moved: the other zone's own
        are left alone. Cinder's manager keeps that word."""
        updates = []
        for volume, result in zip(volumes, results, strict=True):
            if result.failure:
                LOG.error("Volume %s was not failed over: %s", volume.id, result.failure)
                # The database keeps the reason too, where Cinder's API shows it to nobody.
                messages.tell(context, "failover", volume.id, result.failure, _project_of(volume))
                update = words.failed(volume, result.failure)
            else:
                where = DEFAULT if result.replication_status == words.ENABLED else target
                update = words.moved(volume, result.replication_status, None if where == service_in else where)
            updates.append({"volume_id": volume.id, "updates": update})
        return updates

    @staticmethod
    def _group_updates(
        groups: Sequence[Any], volumes: Sequence[Any], results: Sequence[VolumeResult], target: str
    ) -> list[dict[str, Any]]:
        well = words.ENABLED if target == DEFAULT else words.FAILED_OVER
        updates = []
        for group in groups:
            members = [result for volume, result in zip(volumes, results, strict=True) if volume.group_id == group.id]
            word = words.group_word(members, well, words.FAILOVER_ERROR)
            updates.append({"group_id": group.id, "updates": {"replication_status": word}})
        return updates

    def _group_answer(self, results: Sequence[VolumeResult], well: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        word = words.group_word(results, well, words.ERROR)
        self._group_in_error = self._group_in_error or word == words.ERROR
        updates: list[dict[str, Any]] = []
        for result in results:
            reason = cut(str(result.failure)) if result.failure else None
            status = words.ERROR if result.failure else result.replication_status
            updates.append({"id": result.id, "replication_status": status, "replication_extended_status": reason})
        return {"replication_status": word}, updates

    def _status(self, volumes: Sequence[Any]) -> list[VolumeResult]:
        by_backend: dict[str | None, list[Any]] = {}
        for volume in volumes:
            by_backend.setdefault(self._backend_of(volume), []).append(self._ref(volume))
        results: list[VolumeResult] = []
        for backend, refs in by_backend.items():
            results += each_part(refs, partial(self._sidecar.status, backend))
        return results

    # What is refused here, because only Cinder's words are in it.

    def _refuse_unknown(self, target: str | None) -> None:
        if target:
            self._get_target_config(target)
        elif self._active_backend_id not in words.AT_HOME:
            raise exception.InvalidReplicationTarget(
                reason=f"the backend is failed over to '{self._active_backend_id}' already: name the target, or "
                "'default' to fail back"
            )

    @staticmethod
    def _refuse_scattered(group: Any, volumes: Any) -> None:
        """The sidecar of one backend cannot move another's volumes, and half a group is no group."""
        home = _backend_name(group)
        strangers = [volume.id for volume in volumes if _backend_name(volume) != home]
        if strangers:
            raise exception.InvalidGroup(
                reason=f"group {group.id} is on backend '{home}' and {len(strangers)} of its volumes are on others "
                f"(the first: {strangers[0]}). A group is replicated within one backend"
            )

    def _is_ours(self, volume: Any) -> bool:
        """Cinder hands every volume whose replication_status is not said to be none, also one that has no word yet."""
        return volume.replication_status not in words.NOT_REPLICATED or self._is_replicated_type(volume.volume_type)


def _behind(error: exception.CinderException, code: str) -> SidecarError:
    """The sidecar's own words, where they are behind it."""
    behind = error.__cause__
    return behind if isinstance(behind, SidecarError) else Refused(400, code, str(error))


def _project_of(volume: Any) -> str | None:
    return volume.project_id if volume.obj_attr_is_set("project_id") else None


def _backend_name(resource: Any) -> str | None:
    name: str | None = volume_utils.extract_host(resource.cluster_name or resource.host, "backend")
    return name


def _not_done(volume_id: str, image: str, error: SidecarError) -> VolumeResult:
    failure = error if isinstance(error, Refused) else Refused(500, error.code, error.message)
    return VolumeResult(volume_id, image, words.FAILOVER_ERROR, None, failure)


__all__ = ["RekindleFault", "RekindleRBDDriver"]
