use super::{Form, export};
use crate::servers::{
    ServerRecord,
    samples::{any_record, record},
};
use proptest::prelude::*;

mod languages;
mod shell;

fn write(record: &ServerRecord, form: Form) -> String {
    export(record, form).unwrap()
}

const FORMS: [Form; 4] = [Form::Json, Form::Terraform, Form::Heat, Form::Shell];

proptest! {
    #![proptest_config(crate::servers::samples::some())]

    #[test]
    fn the_same_record_is_always_written_alike(r in any_record()) {
        for form in FORMS {
            let text = write(&r, form);
            prop_assert_eq!(&write(&r, form), &text);
            prop_assert!(text.ends_with('\n'));
        }
    }

    #[test]
    fn user_data_stands_in_our_own_json_alone(r in any_record()) {
        let secret = crate::servers::UserData::new("aHVudGVyMi1odW50ZXIy").unwrap();
        let r = ServerRecord { user_data: Some(secret), ..r };
        for form in FORMS {
            let there = write(&r, form).contains("aHVudGVy");
            prop_assert_eq!(there, form == Form::Json, "{:?}", form);
        }
    }

    #[test]
    fn metadata_that_is_a_secret_by_its_name_stands_in_our_own_json_alone(mut r in any_record()) {
        for key in ["db_password", "get_token"] {
            r.metadata.insert(key.to_owned(), "hunter2-hunter2".to_owned());
        }
        for form in FORMS {
            let text = write(&r, form);
            prop_assert_eq!(text.contains("hunter2"), form == Form::Json, "{:?}", form);
            let told = text.contains("# Not done here: its metadata db_password, a secret by its name");
            prop_assert_eq!(told, form != Form::Json, "{:?}", form);
        }
    }

    #[test]
    fn no_form_takes_volumes_with_the_server(mut r in any_record()) {
        for disk in &mut r.disks {
            disk.delete_on_termination = true;
        }
        for form in [Form::Terraform, Form::Heat, Form::Shell] {
            let text = write(&r, form);
            let kept = text.lines().filter(|l| l.contains("delete_on_termination") && l.contains("false")).count();
            prop_assert_eq!(kept, r.disks.len(), "{:?}", form);
            let bad: Vec<&str> = text.lines().filter(|l| l.contains("delete_on_termination") && l.contains("true")).collect();
            prop_assert!(bad.iter().all(|l| l.contains("false")), "{bad:?}");
        }
    }
}

#[test]
fn a_record_that_breaks_a_rule_is_written_in_no_form() {
    let mut r = record();
    r.name = "two\nlines".to_owned();
    for form in FORMS {
        assert_eq!(export(&r, form).unwrap_err().field, "name");
    }
}

#[test]
fn each_form_says_what_it_does_not_do() {
    let mut r = record();
    r.disks[0].tag = Some("root".to_owned());
    let said = |form| {
        let text = write(&r, form);
        let lines = text.lines().filter(|l| l.starts_with("# Not done here: "));
        lines
            .map(|l| l["# Not done here: ".len()..].to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        said(Form::Shell),
        [
            "the tags of ports",
            "the choice of its project: the one of your credentials is taken"
        ]
    );
    assert_eq!(
        said(Form::Terraform),
        [
            "the tags of disks",
            "the tags of ports",
            "its description",
            "it is locked in its zone: `openstack server lock ID`",
            "the choice of its project: the provider's is taken",
        ]
    );
    assert_eq!(
        said(Form::Heat),
        [
            "the tags of disks",
            "the tags of ports",
            "its description",
            "it is locked in its zone: `openstack server lock ID`",
            "it is off in its zone: `openstack server stop ID`",
            "the choice of its project: the stack's is taken",
        ]
    );
}
