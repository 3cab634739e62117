use super::*;

fn zone(name: &str) -> ZoneName {
    ZoneName::new(name).unwrap()
}

fn entry(a: &str, b: &str) -> Entry {
    [("zone-a", a), ("zone-b", b)]
        .into_iter()
        .filter(|(_, name)| !name.is_empty())
        .map(|(z, name)| (zone(z), name.to_owned()))
        .collect()
}

fn project(id: &str, domain: &str, name: &str) -> Project {
    Project {
        id: id.to_owned(),
        name: name.to_owned(),
        domain_id: domain.to_lowercase(),
        domain: domain.to_owned(),
    }
}

struct Zones {
    a: Vec<Project>,
    b: Vec<Project>,
    names: (ZoneName, ZoneName),
}

impl Zones {
    fn new() -> Self {
        Self {
            a: vec![
                project("a1", "Default", "shop"),
                project("a2", "Default", "store"),
                project("a3", "Corp", "shop"),
                project("a4", "Default", "same"),
            ],
            b: vec![
                project("b1", "Default", "shop"),
                project("b2", "Default", "dr:shop"),
                project("b3", "Corp", "shop"),
                project("b4", "Default", "same"),
            ],
            names: (zone("zone-a"), zone("zone-b")),
        }
    }
    fn a(&self) -> Side<'_> {
        Side {
            zone: &self.names.0,
            projects: Some(&self.a),
        }
    }
    fn b(&self) -> Side<'_> {
        Side {
            zone: &self.names.1,
            projects: Some(&self.b),
        }
    }
    fn a_silent(&self) -> Side<'_> {
        Side {
            projects: None,
            ..self.a()
        }
    }
}

fn mapping(projects: &[(&str, &str)], same: bool) -> Mapping {
    Mapping {
        same_name: if same {
            Kind::ALL.into()
        } else {
            BTreeSet::new()
        },
        projects: projects.iter().map(|(a, b)| entry(a, b)).collect(),
        ..Mapping::default()
    }
}

fn field_of(e: &Unmapped) -> &str {
    match e {
        Unmapped::NoEntry { .. } => "none",
        Unmapped::NoSuch { field, .. }
        | Unmapped::Ambiguous { field, .. }
        | Unmapped::Unknown { field, .. } => field,
    }
}

#[test]
fn a_project_is_named_by_id_by_name_or_with_its_domain_and_found_both_ways() {
    let z = Zones::new();
    for (a, b, from, to) in [
        ("store", "dr:shop", "a2", "b2"),
        ("a1", "b4", "a1", "b4"),
        ("Corp:shop", "Default:same", "a3", "b4"),
        ("corp:shop", "default:same", "a3", "b4"),
        ("store", "Default:dr:shop", "a2", "b2"),
    ] {
        let m = mapping(&[(a, b)], false);
        assert_eq!(m.project(z.a(), from, z.b()).unwrap().id, to, "{a} -> {b}");
        assert_eq!(m.project(z.b(), to, z.a()).unwrap().id, from, "{b} -> {a}");
    }
}

#[test]
fn what_is_not_clear_or_not_there_is_named_with_its_field() {
    let z = Zones::new();
    for (projects, from, field) in [
        // `shop` stands in two domains: of this zone, and of the other.
        (&[("shop", "b4")][..], "a1", "projects[0].zone-a"),
        (&[("store", "shop")], "a2", "projects[0].zone-b"),
        (&[("store", "nobody")], "a2", "projects[0].zone-b"),
        // By id in one entry, by name in another.
        (
            &[("same", "b1"), ("store", "b4"), ("a2", "b3")],
            "a2",
            "projects[1].zone-a",
        ),
        (&[("store", "")], "a2", "none"),
        (&[("store", "b2")], "a1", "none"),
    ] {
        let e = mapping(projects, false)
            .project(z.a(), from, z.b())
            .unwrap_err();
        assert_eq!(field_of(&e), field, "{projects:?}: {e}");
    }
}

#[test]
fn the_same_name_counts_in_the_same_domain_and_never_against_an_entry() {
    let z = Zones::new();
    let m = mapping(&[("store", "same")], true);
    assert_eq!(m.project(z.a(), "a1", z.b()).unwrap().id, "b1");
    assert_eq!(m.project(z.a(), "a3", z.b()).unwrap().id, "b3");
    assert_eq!(m.project(z.a(), "a2", z.b()).unwrap().id, "b4");
    // zone-b's `same` is zone-a's `store`: it cannot be zone-a's `same` too.
    let e = m.project(z.a(), "a4", z.b()).unwrap_err();
    assert_eq!(field_of(&e), "projects[0].zone-b", "{e}");
    // And back: zone-b's has its entry, so its name is not looked at.
    assert_eq!(m.project(z.b(), "b4", z.a()).unwrap().id, "a2");
    let e = m.project(z.b(), "b2", z.a()).unwrap_err();
    assert_eq!(field_of(&e), "same_name", "{e}");
}

#[test]
fn a_silent_keystone_leaves_what_is_by_id_and_guesses_nothing() {
    let z = Zones::new();
    let m = mapping(&[("a1", "b1"), ("store", "b2")], true);
    assert_eq!(m.project(z.a_silent(), "a1", z.b()).unwrap().id, "b1");
    for id in ["a2", "a4"] {
        let e = m.project(z.a_silent(), id, z.b()).unwrap_err();
        assert!(matches!(e, Unmapped::Unknown { .. }), "{e}");
    }
    let e = m.project(z.b(), "b1", z.a_silent()).unwrap_err();
    assert!(matches!(e, Unmapped::Unknown { .. }), "{e}");
}

#[test]
fn types_and_keys_go_by_their_text_both_ways() {
    let (a, b) = (zone("zone-a"), zone("zone-b"));
    let m = Mapping {
        same_name: [Kind::Types].into(),
        types: vec![entry("fast", "slow")],
        keys: vec![entry("k1", "k2")],
        ..Mapping::default()
    };
    assert_eq!(m.volume_type(&a, "fast", &b).unwrap(), "slow");
    assert_eq!(m.volume_type(&b, "slow", &a).unwrap(), "fast");
    assert_eq!(m.volume_type(&a, "other", &b).unwrap(), "other");
    // zone-b's `slow` is zone-a's `fast`, and zone-a's `fast` is zone-b's `slow`.
    for (from, name, to) in [(&a, "slow", &b), (&b, "fast", &a)] {
        let e = m.volume_type(from, name, to).unwrap_err();
        assert!(matches!(e, Unmapped::Ambiguous { .. }), "{e}");
    }
    assert_eq!(m.key(&b, "k2", &a).unwrap(), "k1");
    let e = m.key(&a, "k3", &b).unwrap_err();
    assert!(matches!(e, Unmapped::NoEntry { .. }), "{e}");
    assert!(e.to_string().starts_with("keys of the mapping"), "{e}");
}

#[test]
fn a_file_is_checked_by_itself() {
    let zones: BTreeSet<ZoneName> = [zone("zone-a"), zone("zone-b")].into();
    let good = mapping(&[("shop", "shop"), ("store", "dr:shop")], true);
    assert_eq!(good.check(&zones), []);
    for (projects, field) in [
        (&[("shop", "")][..], "projects[0]"),
        (&[("shop", "x"), ("shop", "y")], "projects[1].zone-a"),
        (&[("x", "shop"), ("y", "shop")], "projects[1].zone-b"),
        (&[("shop ", "shop")], "projects[0].zone-a"),
    ] {
        let found = mapping(projects, false).check(&zones);
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].field, field, "{}", found[0]);
    }
    let mut elsewhere = mapping(&[("shop", "shop")], false);
    elsewhere.projects[0].insert(zone("zone-c"), "shop".to_owned());
    assert_eq!(elsewhere.check(&zones)[0].field, "projects[0].zone-c");
}

#[test]
fn projects_are_checked_against_what_keystone_has() {
    let z = Zones::new();
    let m = mapping(
        &[("a1", "b1"), ("Default:shop", "b2"), ("gone", "b9")],
        false,
    );
    let a: Vec<_> = m.check_projects(z.a());
    let fields: Vec<_> = a.iter().map(field_of).collect();
    assert_eq!(fields, ["projects[1].zone-a", "projects[2].zone-a"]);
    let b = m.check_projects(z.b());
    assert_eq!(
        b.iter().map(field_of).collect::<Vec<_>>(),
        ["projects[2].zone-b"]
    );
}
