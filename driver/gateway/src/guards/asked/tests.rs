use super::*;
use hyper::Method;
use proptest::prelude::*;

const ID: &str = "9d2a4c1e-0000-4000-8000-000000000001";

fn asked(line: &str, body: &str) -> Vec<(Operation, Target)> {
    let (method, path) = line.split_once(' ').unwrap();
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let place = Place::of(&method, path);
    let place = place.unwrap_or_else(|_| panic!("{line} is unclear"));
    let asked = place.map(|p| p.asked(body.as_bytes()).unwrap());
    let asked = asked.unwrap_or_default();
    asked.into_iter().map(|g| (g.operation, g.target)).collect()
}

#[test]
fn a_list_of_volumes_is_no_volume() {
    for (line, body) in [
        ("DELETE /v3/p/volumes/detail", ""),
        ("DELETE /v3/volumes/summary", ""),
        (
            "POST /v3/p/volumes/detail/action",
            r#"{"os-force_delete": {}}"#,
        ),
        (
            "POST /v3/p/attachments",
            r#"{"attachment": {"volume_uuid": "detail"}}"#,
        ),
    ] {
        assert_eq!(asked(line, body), [], "{line}");
    }
}

#[test]
fn what_changes_a_volume_is_known_by_its_line_and_body() {
    use Operation::{
        Attach, BackUp, Clone, Delete, Extend, Migrate, Overwrite, Retype, Snapshot, Transfer,
        Unmanage,
    };
    let volume = || Target::Volume(ID.to_owned());
    let action = format!("POST /v3/p/volumes/{ID}/action");
    let at = |what: &str| format!("POST /v3/{what}");
    for (line, body, operation) in [
        (format!("DELETE /v3/p/volumes/{ID}"), String::new(), Delete),
        (format!("DELETE /v3/volumes/{ID}"), String::new(), Delete),
        (
            format!("DELETE /v3/p/volumes/{ID}.json"),
            String::new(),
            Delete,
        ),
        (
            format!("DELETE /v3/p/volumes/%39{}", &ID[1..]),
            String::new(),
            Delete,
        ),
        (action.clone(), r#"{"os-force_delete": {}}"#.into(), Delete),
        (action.clone(), r#"{"os-unmanage": {}}"#.into(), Unmanage),
        (
            action.clone(),
            r#"{"os-migrate_volume": {"host": "h"}}"#.into(),
            Migrate,
        ),
        (
            action.clone(),
            r#"{"os-retype": {"new_type": "t", "migration_policy": "on-demand"}}"#.into(),
            Migrate,
        ),
        (
            action.clone(),
            r#"{"os-retype": {"new_type": "t", "migration_policy": "never"}}"#.into(),
            Retype,
        ),
        (
            action.clone(),
            r#"{"os-extend": {"new_size": 2}}"#.into(),
            Extend { gib: Some(2) },
        ),
        (
            action.clone(),
            r#"{"os-extend": {"new_size": "3"}}"#.into(),
            Extend { gib: Some(3) },
        ),
        (
            action.clone(),
            r#"{"os-extend": {}}"#.into(),
            Extend { gib: None },
        ),
        (action.clone(), r#"{"os-reserve": null}"#.into(), Attach),
        (
            action.clone(),
            r#"{"os-initialize_connection": {}}"#.into(),
            Attach,
        ),
        (
            action.clone(),
            r#"{"revert": {"snapshot_id": "s"}}"#.into(),
            Overwrite,
        ),
        (
            action.clone(),
            r#"{"os-reimage": {"image_id": "i"}}"#.into(),
            Overwrite,
        ),
        (
            at("p/volumes"),
            format!(r#"{{"volume": {{"source_volid": "{ID}"}}}}"#),
            Clone,
        ),
        (
            at("attachments"),
            format!(r#"{{"attachment": {{"volume_uuid": "{ID}"}}}}"#),
            Attach,
        ),
        (
            at("p/snapshots"),
            format!(r#"{{"snapshot": {{"volume_id": "{ID}", "force": true}}}}"#),
            Snapshot,
        ),
        (
            at("p/backups"),
            format!(r#"{{"backup": {{"volume_id": "{ID}"}}}}"#),
            BackUp,
        ),
        (
            at("backups/b/restore"),
            format!(r#"{{"restore": {{"volume_id": "{ID}"}}}}"#),
            Overwrite,
        ),
        (
            at("p/volume-transfers"),
            format!(r#"{{"transfer": {{"volume_id": "{ID}"}}}}"#),
            Transfer,
        ),
    ] {
        assert_eq!(
            asked(&line, &body),
            [(operation, volume())],
            "{line} {body}"
        );
    }
}

#[test]
fn groups_snapshots_and_attachments_stand_for_their_volumes() {
    use Operation::{Attach, Clone, Delete, Snapshot};
    let delete = r#"{"delete": {"delete-volumes": true}}"#;
    let force = r#"{"consistencygroup": {"force": true}}"#;
    for (line, body, operation, target) in [
        (
            "POST group_snapshots",
            r#"{"group_snapshot": {"group_id": "g-1"}}"#,
            Snapshot,
            Target::Group as fn(String) -> Target,
        ),
        (
            "POST cgsnapshots",
            r#"{"cgsnapshot": {"consistencygroup_id": "g-1"}}"#,
            Snapshot,
            Target::Group,
        ),
        ("POST groups/g-1/action", delete, Delete, Target::Group),
        (
            "POST groups/g-1/action",
            r#"{"delete": {"delete-volumes": "yes"}}"#,
            Delete,
            Target::Group,
        ),
        ("DELETE groups/g-1", delete, Delete, Target::Group),
        ("DELETE groups/g-1.json", delete, Delete, Target::Group),
        (
            "POST consistencygroups/g-1/delete",
            force,
            Delete,
            Target::Group,
        ),
        ("DELETE consistencygroups/g-1", force, Delete, Target::Group),
        (
            "POST groups/g-1/action",
            r#"{"failover_replication": {"secondary_backend_id": "zone-b"}}"#,
            Operation::Replication(OnGroup::FailOver),
            Target::Group,
        ),
        (
            "DELETE groups/g-1",
            r#"{"enable_replication": null}"#,
            Operation::Replication(OnGroup::Enable),
            Target::Group,
        ),
        (
            "POST groups/g-1/action",
            r#"{"disable_replication": {}}"#,
            Operation::Replication(OnGroup::Disable),
            Target::Group,
        ),
        (
            "POST groups/action",
            r#"{"create-from-src": {"source_group_id": "g-1"}}"#,
            Clone,
            Target::Group,
        ),
        (
            "POST groups/action",
            r#"{"create-from-src": {"group_snapshot_id": "g-1"}}"#,
            Clone,
            Target::GroupSnapshot,
        ),
        (
            "POST consistencygroups/create_from_src",
            r#"{"consistencygroup-from-src": {"source_cgid": "g-1"}}"#,
            Clone,
            Target::Group,
        ),
        (
            "POST consistencygroups/create_from_src",
            r#"{"consistencygroup-from-src": {"cgsnapshot_id": "g-1"}}"#,
            Clone,
            Target::ConsistencySnapshot,
        ),
        (
            "POST volumes",
            r#"{"volume": {"size": 1, "snapshot_id": "G-1"}}"#,
            Clone,
            Target::Snapshot,
        ),
        (
            "PUT attachments/g-1",
            r#"{"attachment": {"connector": {"host": "h"}}}"#,
            Attach,
            Target::Attachment,
        ),
    ] {
        let line = line.replacen(' ', " /v3/p/", 1);
        assert_eq!(
            asked(&line, body),
            [(operation, target("g-1".to_owned()))],
            "{line} {body}"
        );
    }
}

#[test]
fn a_body_that_cinder_alone_would_read_is_illegible() {
    let body = r#"{"os-force_delete": {}, "x": NaN}"#;
    for line in [
        format!("POST /v3/p/volumes/{ID}/action"),
        "POST /v3/p/groups/g/action".to_owned(),
        "DELETE /v3/p/consistencygroups/g".to_owned(),
        "PUT /v3/p/attachments/a".to_owned(),
        "POST /v3/p/volumes".to_owned(),
    ] {
        let (method, path) = line.split_once(' ').unwrap();
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let place = Place::of(&method, path).unwrap().unwrap();
        assert!(place.is_told_by_body(), "{line}");
        assert_eq!(place.asked(body.as_bytes()), Err(Illegible), "{line}");
        assert_eq!(place.asked(b"{\"x\": "), Ok(Vec::new()), "{line}");
    }
    // Of a deletion the body says nothing, to Cinder either.
    let place = Place::of(&Method::DELETE, &format!("/v3/p/volumes/{ID}"));
    let place = place.unwrap().unwrap();
    assert!(!place.is_told_by_body());
    assert_eq!(place.asked(body.as_bytes()).unwrap().len(), 1);
}

#[test]
fn the_rest_is_cinders_alone() {
    let action = format!("POST /v3/p/volumes/{ID}/action");
    for (line, body) in [
        (
            action.as_str(),
            r#"{"os-reset_status": {"status": "error"}}"#,
        ),
        (action.as_str(), r#"{"os-volume_upload_image": {}}"#),
        (action.as_str(), r#"{"os-detach": {}}"#),
        (action.as_str(), r#"{"os-terminate_connection": {}}"#),
        (action.as_str(), r#"{"os-promote": {}}"#),
        (action.as_str(), "[]"),
        (action.as_str(), "no JSON"),
        ("GET /v3/p/volumes/1", ""),
        ("DELETE /v3/p/snapshots/1", ""),
        ("DELETE /v3/p/volumes/1/metadata/x", ""),
        ("DELETE /v2/p/volumes/1", ""),
        ("DELETE /v3/p/groups/1", ""),
        ("POST /v3/p/volumes", r#"{"volume": {"size": 1}}"#),
        (
            "POST /v3/p/volumes",
            r#"{"volume": {"source_volid": null}}"#,
        ),
        (
            "POST /v3/p/snapshots",
            r#"{"snapshot": {"volume_id": "a/../b"}}"#,
        ),
        (
            "POST /v3/p/backups/b/restore",
            r#"{"restore": {"volume_id": null}}"#,
        ),
        ("POST /v3/p/backups/b/restore", r#"{"restore": {}}"#),
        ("PUT /v3/p/attachments/a", "{}"),
        (
            "PUT /v3/p/attachments/a",
            r#"{"attachment": {"connector": null}}"#,
        ),
        ("PUT /v3/p/volumes/1", r#"{"volume": {"name": "n"}}"#),
        (
            "POST /v3/p/groups/g/action",
            r#"{"delete": {"delete-volumes": false}}"#,
        ),
        ("POST /v3/p/groups/g/action", r#"{"delete": {}}"#),
        (
            "POST /v3/p/groups/g/action",
            r#"{"reset_status": {"status": "available"}}"#,
        ),
        (
            "POST /v3/p/groups/g/action",
            r#"{"list_replication_targets": {}}"#,
        ),
        (
            "POST /v3/p/consistencygroups/g/delete",
            r#"{"consistencygroup": {"force": false}}"#,
        ),
        ("POST /v3/p/consistencygroups/g/delete", ""),
        ("POST /v3/p/groups", r#"{"group": {"group_type": "t"}}"#),
        ("POST /v3/p/volumes", r#"{"volume": {"snapshot_id": null}}"#),
    ] {
        assert_eq!(asked(line, body), [], "{line} {body}");
    }
}

proptest! {
    #[test]
    fn any_line_and_body_is_one_or_none(path in "/v3/[a-z0-9%./]{0,40}", body in ".{0,80}", near in "\\{\"os-(extend|retype)\": ?.{0,60}") {
        for line in [format!("POST {path}"), format!("DELETE {path}"), "POST /v3/volumes/1/action".to_owned()] {
            let (method, path) = line.split_once(' ').unwrap();
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            if let Ok(Some(place)) = Place::of(&method, path) {
                let _ = place.asked(body.as_bytes());
                let _ = place.asked(near.as_bytes());
            }
        }
    }
}
