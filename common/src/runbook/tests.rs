use super::*;
use crate::policy::GroupSpec;

/// As the module's documentation has it.
const FILE: &str = r#"
name = "shop"
home = "zone-a"
away = "zone-b"
[runbook]
standby = "shutoff"
before = [{ agent = "open-ticket", within = "30s" }]
[[runbook.levels]]
servers = [{ key = "db", server = "5e0c", wait = [{ tcp = "10.0.0.5:5432", within = "2m" }] }]
[[runbook.levels]]
pause = "look at the database before the shop opens"
servers = [{ key = "web-1", server = "77a1" }, { key = "web-2", server = "90fe", after = ["web-1"] }]
"#;

fn shop() -> Runbook {
    toml::from_str::<GroupSpec>(FILE).unwrap().runbook
}
fn server(key: &str) -> RunbookServer {
    RunbookServer {
        key: ServerKey::new(key).unwrap(),
        server: None,
        standby: None,
        after: Vec::new(),
        wait: Vec::new(),
        within: ten_minutes(),
    }
}
fn hook(agent: &str, within: Span) -> Hook {
    Hook {
        agent: agent.to_owned(),
        within,
    }
}
fn of(levels: Vec<Level>) -> Runbook {
    Runbook {
        levels,
        ..Runbook::default()
    }
}
fn level(servers: Vec<RunbookServer>) -> Level {
    Level {
        pause: None,
        servers,
    }
}

#[test]
fn a_groups_file_reads_as_it_is_written_in_the_documentation() {
    let book = shop();
    assert_eq!(book.check(), Ok(()));
    let keys: Vec<&str> = book.servers().map(|s| s.key.as_str()).collect();
    assert_eq!(keys, ["db", "web-1", "web-2"]);
    assert_eq!(book.before, [hook("open-ticket", Span::secs(30))]);
    assert_eq!(
        book.levels[1].pause.as_deref(),
        Some("look at the database before the shop opens")
    );
    let db = &book.levels[0].servers[0];
    let tcp = Wait::Tcp {
        tcp: "10.0.0.5:5432".to_owned(),
        within: Span::secs(120),
    };
    assert_eq!(db.wait, [tcp]);
    assert_eq!(
        (db.within, book.standby_of(db)),
        (Span::secs(600), StandbyPolicy::Shutoff)
    );
    assert_eq!(
        book.levels[1].servers[1].after,
        [ServerKey::new("web-1").unwrap()]
    );
}

#[test]
fn it_goes_through_json_and_a_group_without_servers_says_nothing_of_them() {
    let mut spec: GroupSpec = toml::from_str(FILE).unwrap();
    let text = serde_json::to_string(&spec).unwrap();
    assert_eq!(serde_json::from_str::<GroupSpec>(&text).unwrap(), spec);
    spec.runbook = Runbook::default();
    assert!(spec.runbook.is_empty());
    let text = serde_json::to_string(&spec).unwrap();
    assert!(!text.contains("runbook"), "{text}");
    assert_eq!(serde_json::from_str::<GroupSpec>(&text).unwrap(), spec);
}

#[test]
fn a_field_that_it_does_not_know_is_refused() {
    for wrong in [
        "levels = []\nlevel = 1",
        "levels = [{ paus = \"x\" }]",
        "levels = [{ servers = [{ key = \"a\", afters = [] }] }]",
        "levels = [{ servers = [{ key = \"a\", wait = [{ tcp = \"h:1\", http = \"http://h\", within = \"1s\" }] }] }]",
        "levels = [{ servers = [{ key = \"a\", wait = [{ ping = \"h\", within = \"1s\" }] }] }]",
        "levels = [{ servers = [{ key = \"a\", wait = [{ tcp = \"h:1\" }] }] }]",
        "before = [{ agent = \"a\" }]\nlevels = []",
        "standby = \"on\"\nlevels = []",
    ] {
        assert!(
            toml::from_str::<Runbook>(wrong).is_err(),
            "{wrong} was taken"
        );
    }
}

#[test]
fn what_is_out_of_bounds_is_named() {
    let wait = |wait| {
        let mut s = server("a");
        s.wait = vec![wait];
        of(vec![level(vec![s])])
    };
    let tcp = |tcp: &str| Wait::Tcp {
        tcp: tcp.to_owned(),
        within: Span::secs(1),
    };
    let many = |n: usize| (0..n).map(|n| server(&format!("s{n}"))).collect::<Vec<_>>();
    let second = Span::secs(1);
    let cases: Vec<(Runbook, &str)> = vec![
        (of(vec![Level::default(); MAX_LEVELS + 1]), "more than 64"),
        (
            of(vec![level(many(MAX_SERVERS + 1))]),
            "more than 5000 servers",
        ),
        (
            Runbook {
                before: vec![hook("h", second); MAX_HOOKS + 1],
                ..Runbook::default()
            },
            "runbook.before: more than 16",
        ),
        (
            Runbook {
                after: vec![hook("h", second); MAX_HOOKS + 1],
                ..Runbook::default()
            },
            "runbook.after: more than 16",
        ),
        (
            Runbook {
                after: vec![hook("", second)],
                ..Runbook::default()
            },
            "runbook.after: write it in",
        ),
        (
            Runbook {
                before: vec![hook("h", Span::millis(999))],
                ..Runbook::default()
            },
            "outside 1s to 6h",
        ),
        (
            Runbook {
                before: vec![hook("h", Span::secs(6 * 3600 + 1))],
                ..Runbook::default()
            },
            "outside 1s to 6h",
        ),
        (
            of(vec![Level {
                pause: Some(String::new()),
                servers: vec![],
            }]),
            "runbook.levels.pause",
        ),
        (
            of(vec![Level {
                pause: Some("x".repeat(MAX_PAUSE + 1)),
                servers: vec![],
            }]),
            "runbook.levels.pause",
        ),
        (wait(tcp("10.0.0.5")), "is not HOST:PORT"),
        (wait(tcp(":80")), "is not HOST:PORT"),
        (
            wait(tcp("{adress}:80")),
            "{address} is all that may stand in braces",
        ),
        (wait(tcp("host:0")), "is not HOST:PORT"),
        (wait(tcp("host:65536")), "is not HOST:PORT"),
        (
            wait(Wait::Http {
                http: "ftp://h".to_owned(),
                within: second,
            }),
            "does not begin with http://",
        ),
        (
            wait(Wait::Command {
                command: "a\nb".to_owned(),
                within: second,
            }),
            "on one line",
        ),
        (
            wait(Wait::Tcp {
                tcp: "h:1".to_owned(),
                within: Span::secs(0),
            }),
            "outside 1s to 6h",
        ),
    ];
    for (book, word) in cases {
        let e = book.check().unwrap_err().to_string();
        assert!(e.contains(word), "{word:?} is not in {e:?}");
    }
    let mut waits = server("a");
    waits.wait = vec![tcp("h:1"); MAX_WAITS + 1];
    let e = of(vec![level(vec![waits])]).check().unwrap_err();
    assert!(e.to_string().contains("more than 8"), "{e}");
    // At the bounds it is taken, and an IPv6 address too.
    assert_eq!(of(vec![level(many(MAX_SERVERS))]).check(), Ok(()));
    assert_eq!(of(vec![Level::default(); MAX_LEVELS]).check(), Ok(()));
    assert_eq!(wait(tcp("[2001:db8::1]:443")).check(), Ok(()));
}

#[test]
fn a_server_stands_once_and_is_after_what_stands_before_it_in_its_level() {
    let after = |key: &str, after: &[&str]| {
        let mut s = server(key);
        s.after = after.iter().map(|k| ServerKey::new(*k).unwrap()).collect();
        s
    };
    let taken = |levels| of(levels).check().map_err(|e| e.to_string());
    assert_eq!(
        taken(vec![level(vec![
            server("a"),
            after("b", &["a"]),
            after("c", &["a", "b"])
        ])]),
        Ok(())
    );
    let e = taken(vec![level(vec![server("a")]), level(vec![server("a")])]).unwrap_err();
    assert!(e.contains("a stands twice"), "{e}");
    for servers in [
        // Itself, round, forwards, nowhere.
        vec![after("a", &["a"])],
        vec![after("a", &["b"]), after("b", &["a"])],
        vec![after("a", &["b"]), server("b")],
        vec![after("a", &["x"])],
    ] {
        let e = taken(vec![level(servers)]).unwrap_err();
        assert!(e.contains("does not stand before it in its level"), "{e}");
    }
    // A server of another level: levels are the order already.
    let e = taken(vec![
        level(vec![server("a")]),
        level(vec![after("b", &["a"])]),
    ])
    .unwrap_err();
    assert!(e.contains("does not stand before it"), "{e}");
    let with_id = |key: &str, id: &str| RunbookServer {
        server: Some(id.to_owned()),
        ..server(key)
    };
    let e = taken(vec![level(vec![
        with_id("a", "5e0c"),
        with_id("b", "5e0c"),
    ])])
    .unwrap_err();
    assert!(e.contains("second time as b"), "{e}");
    let e = taken(vec![level(vec![with_id("a", "")])]).unwrap_err();
    assert!(e.contains("runbook.levels.servers.server"), "{e}");
}

#[test]
fn commands_are_those_of_hooks_and_waits() {
    let mut book = shop();
    book.after = vec![hook("close-ticket", Span::secs(1))];
    book.levels[0].servers[0].wait.push(Wait::Command {
        command: "ask-db".to_owned(),
        within: Span::secs(1),
    });
    let all: Vec<&str> = book.commands().collect();
    assert_eq!(all, ["open-ticket", "close-ticket", "ask-db"]);
}
