use super::*;
use crate::servers::{
    PowerWish, RecordSource, UserData,
    samples::{any_record, disk, port, record},
};
use proptest::prelude::*;

fn words(before: &ServerRecord, after: &ServerRecord) -> Vec<String> {
    diff(before, after)
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn each_field_is_told_in_words() {
    let before = record();
    let mut after = record();
    after.flavor.name = "m1.large".to_owned();
    after.power = PowerWish::Running;
    after.key_name = None;
    after.metadata.insert("role".to_owned(), "db".to_owned());
    after.tags.insert("green".to_owned());
    after.disks[1].device = Some("/dev/vdc".to_owned());
    after.disks.push(disk("vol-new", None, "/dev/vdd"));
    after.ports[0].fixed_ips.pop();
    after.ports.pop();
    after.user_data = Some(UserData::new("I2Nsb3VkLWNvbmZpZwA=").unwrap());
    assert_eq!(
        words(&before, &after),
        [
            "flavor.name: was m1.small, is m1.large",
            "key_name: gone; was ops",
            "metadata.role: was web, is db",
            "power: was shut_off, is running",
            "tags.green: added: set",
            "user_data: changed; 14 bytes, not shown",
            "disks.vol-data.device: was /dev/vdb, is /dev/vdc",
            "disks.vol-new: added: delete_on_termination false, device /dev/vdd, name vol-new-name",
            "ports.2: gone; was network net-back",
            "ports.port-1.fixed_ips: was 10.0.0.5 of subnet-4, 2001:db8::5 of subnet-6, is 10.0.0.5 of subnet-4",
        ]
    );
}

#[test]
fn an_order_that_changed_is_told_and_one_that_was_only_shifted_is_not() {
    let before = record();
    let mut shifted = record();
    shifted
        .disks
        .insert(1, disk("vol-boot-2", Some(1), "/dev/vdc"));
    let found = words(&before, &shifted);
    assert_eq!(found.len(), 1, "{found:?}");
    let mut turned = record();
    turned.disks.push(disk("vol-z", None, "/dev/vdz"));
    turned.ports.push(port("third"));
    let mut after = turned.clone();
    after.disks.swap(1, 2);
    assert_eq!(
        words(&turned, &after),
        ["disks: order: was vol-root, vol-data, vol-z, is vol-root, vol-z, vol-data"]
    );
}

#[test]
fn when_and_of_what_it_was_read_is_no_change_of_the_server() {
    let mut other = record();
    other.taken_at = "2026-11-27T00:00:00Z".parse().unwrap();
    other.source = RecordSource::Nova;
    assert_eq!(words(&record(), &other), Vec::<String>::new());
}

#[test]
fn a_secret_that_changed_is_told_and_not_shown() {
    let (mut before, mut after) = (record(), record());
    before
        .metadata
        .insert("db_password".to_owned(), "hunter2".to_owned());
    after
        .metadata
        .insert("db_password".to_owned(), "hunter3".to_owned());
    after
        .metadata
        .insert("api_token".to_owned(), "hunter4".to_owned());
    assert_eq!(
        words(&before, &after),
        [
            "metadata.api_token: added: (not shown)",
            "metadata.db_password: changed; (not shown)"
        ]
    );
}

proptest! {
    #![proptest_config(crate::servers::samples::some())]

    #[test]
    fn a_record_differs_from_every_other_and_not_from_itself(a in any_record(), b in any_record()) {
        prop_assert_eq!(diff(&a, &a), Vec::new());
        let same = ServerRecord { taken_at: b.taken_at, source: b.source.clone(), ..a.clone() } == b;
        prop_assert_eq!(diff(&a, &b).is_empty(), same);
        // Each change there is one back.
        let there: Vec<String> = diff(&a, &b).into_iter().map(|c| c.field).collect();
        let back: Vec<String> = diff(&b, &a).into_iter().map(|c| c.field).collect();
        prop_assert_eq!(there, back);
    }

    #[test]
    fn user_data_is_in_no_words(a in any_record(), b in any_record()) {
        let secret = UserData::new("aHVudGVyMi1odW50ZXIy").unwrap();
        let b = ServerRecord { user_data: Some(secret), ..b };
        let text = format!("{:?} {:?}", diff(&a, &b), words(&b, &a));
        prop_assert!(!text.contains("aHVudGVy"), "{text}");
    }
}
