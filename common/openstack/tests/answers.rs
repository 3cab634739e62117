//! Against a server that misbehaves: each error is the one that says what to do, nothing waits for ever, and nothing is cut in silence.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::wildcard_enum_match_arm,
    unreachable_pub,
    reason = "tests"
)]

#[allow(dead_code, reason = "each test program uses a part of it")]
mod fake;

use fake::{Fake, Say};
use rekindle_common::ZoneName;
use rekindle_net::testing::TestAuthority;
use rekindle_openstack::{Cloud, CloudConfig, CloudError, Scope};
use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

fn volume(id: &str) -> String {
    format!(
        r#"{{"id":"{id}","status":"available","size":1,"os-vol-tenant-attr:tenant_id":"p1","name":"","bootable":"true"}}"#
    )
}

fn page(ids: &[&str], next: bool) -> Say {
    let rows: Vec<String> = ids.iter().map(|id| volume(id)).collect();
    let links = if next {
        r#","volumes_links":[{"rel":"next","href":"http://elsewhere"}]"#
    } else {
        ""
    };
    Say::ok(format!(r#"{{"volumes":[{}]{links}}}"#, rows.join(",")))
}

#[tokio::test]
async fn a_volume_is_read_under_a_token_and_a_microversion_that_are_asked_for_once() {
    let fake = Fake::cinder(|_, _| Say::ok(format!(r#"{{"volume":{}}}"#, volume("v1")))).await;
    let cinder = fake.cloud("").cinder(Scope::Home);
    for _ in 0..3 {
        let got = cinder.volume("v1").await.unwrap();
        assert_eq!((got.image().as_str(), got.bootable), ("volume-v1", true));
        assert_eq!(got.name, None);
    }
    assert_eq!(fake.asked("POST /v3/auth/tokens").len(), 1);
    assert_eq!(fake.asked("GET /volume/v3/ ").len(), 1);
    let asked = fake.asked("GET /volume/v3/p1/volumes/v1 ");
    assert_eq!(asked.len(), 3);
    for asked in asked {
        assert!(asked.head.contains("x-auth-token: a-secret-token"));
        assert!(asked.head.contains("openstack-api-version: volume 3.64"));
    }
    let login = &fake.asked("POST /v3/auth/tokens")[0].body;
    assert!(login.contains(r#""password":"pw-of-a-test""#), "{login}");
}

#[tokio::test]
async fn a_token_that_ends_is_asked_for_anew() {
    let fake = Fake::cinder(|_, _| page(&[], false)).await;
    fake.keystone.stale.store(true, Ordering::SeqCst);
    let cinder = fake.cloud("").cinder(Scope::Home);
    for _ in 0..3 {
        cinder.volumes(10).await.unwrap();
    }
    assert_eq!(fake.asked("POST /v3/auth/tokens").len(), 3);
}

#[tokio::test]
async fn a_refused_secret_is_not_sent_again_and_again() {
    let fake = Fake::cinder(|_, _| page(&[], false)).await;
    fake.keystone.refuses.store(true, Ordering::SeqCst);
    let cloud = fake.cloud("");
    for _ in 0..3 {
        match cloud.cinder(Scope::Home).volumes(10).await {
            Err(CloudError::Unauthorized { message, .. }) => {
                assert!(message.contains("no such user"), "{message}");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(
        fake.asked("POST /v3/auth/tokens").len(),
        1,
        "accounts are locked for less"
    );
    // Another scope is another question, and whoever asks who we are gets an answer of now.
    fake.keystone.refuses.store(false, Ordering::SeqCst);
    let p1 = Scope::Project("p1".to_owned());
    cloud.cinder(p1).volumes(10).await.unwrap();
    assert!(cloud.whoami(&Scope::Home).await.unwrap().is_admin());
    cloud.cinder(Scope::Home).volumes(10).await.unwrap();
}

#[tokio::test]
async fn each_scope_has_a_token_of_its_own_and_a_project_that_is_not_ours_is_said() {
    let fake = Fake::cinder(|_, _| page(&[], false)).await;
    let cloud = fake.cloud("");
    let p1 = Scope::Project("p1".to_owned());
    cloud.cinder(p1.clone()).volumes(10).await.unwrap();
    cloud.cinder(Scope::Home).volumes(10).await.unwrap();
    cloud.cinder(p1).volumes(10).await.unwrap();
    let logins = fake.asked("POST /v3/auth/tokens");
    assert_eq!(logins.len(), 2);
    assert!(logins[0].body.contains(r#""project":{"id":"p1"}"#));
    assert!(logins[1].body.contains(r#""name":"p""#));
    // The fake gives a token for p1 whatever is asked, as Keystone does with an application credential.
    let other = cloud.cinder(Scope::Project("p2".to_owned()));
    match other.volumes(10).await {
        Err(CloudError::Forbidden { message, .. }) => assert!(message.contains("p2"), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn no_secret_is_shown() {
    let fake = Fake::cinder(|_, _| Say::status(403, "{}")).await;
    let cloud = fake.cloud("");
    let cinder = cloud.cinder(Scope::Home);
    let e = cinder.volume("v1").await.unwrap_err();
    let shown = format!("{cloud:?} {cinder:?} {:?} {e:?} {e}", cloud.config());
    assert!(shown.contains("zone-a"), "{shown}");
    for secret in ["pw-of-a-test", "a-secret-token"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_for_writes_too() {
    let fake = Fake::cinder(|n, _| match n {
        0 => Say::status(401, r#"{"error":{"message":"expired"}}"#),
        _ => Say::status(202, ""),
    })
    .await;
    fake.cloud("")
        .cinder(Scope::Home)
        .extend("v1", 2)
        .await
        .unwrap();
    assert_eq!(fake.asked("POST /v3/auth/tokens").len(), 2);
    assert_eq!(fake.asked("/v1/action").len(), 2);

    let fake = Fake::cinder(|_, _| Say::status(401, r#"{"error":{"message":"no"}}"#)).await;
    let e = fake.cloud("").cinder(Scope::Home).volume("v1").await;
    assert!(matches!(e, Err(CloudError::Unauthorized { .. })), "{e:?}");
    assert_eq!(fake.asked("/volumes/v1").len(), 2);
}

#[tokio::test]
async fn reads_are_made_again_and_writes_are_not() {
    let fake = Fake::cinder(|n, _| match n {
        0 => Say::Truncated,
        1 => Say::status(503, "busy"),
        _ => Say::ok(format!(r#"{{"volume":{}}}"#, volume("v1"))),
    })
    .await;
    fake.cloud("")
        .cinder(Scope::Home)
        .volume("v1")
        .await
        .unwrap();
    assert_eq!(fake.asked("/volumes/v1").len(), 3);

    let fake = Fake::cinder(|_, _| Say::Truncated).await;
    let e = fake
        .cloud("")
        .cinder(Scope::Home)
        .unmanage_volume("v1")
        .await;
    let e = e.unwrap_err();
    assert!(matches!(e, CloudError::Broken { .. }), "{e:?}");
    assert!(e.may_have_taken_effect() && e.is_passing());
    assert_eq!(fake.asked("/v1/action").len(), 1);
}

#[tokio::test]
async fn a_silent_server_and_a_huge_answer_have_an_end() {
    let fake = Fake::cinder(|_, _| Say::Silence).await;
    let begun = Instant::now();
    let e = fake
        .cloud("timeout = \"1s\"")
        .cinder(Scope::Home)
        .volume("v1")
        .await;
    assert!(matches!(e, Err(CloudError::TimedOut { .. })), "{e:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );

    let fake = Fake::cinder(|_, _| Say::Huge(64 << 20)).await;
    let e = fake
        .cloud("timeout = \"60s\"")
        .cinder(Scope::Home)
        .volume("v1")
        .await;
    match e {
        Err(CloudError::Unexpected { why, .. }) => assert!(why.contains("larger"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn statuses_say_what_to_do() {
    let cinders = r#"{"badRequest":{"code":400,"message":"Invalid volume: it is busy"}}"#;
    let quota = r#"{"overLimit":{"code":413,"message":"VolumeLimitExceeded","retryAfter":"0"}}"#;
    let after = |s: &str| vec![("Retry-After", s.to_owned())];
    for (say, kind, word) in [
        (
            Say::status(400, cinders),
            "invalid",
            "Invalid volume: it is busy",
        ),
        (Say::status(403, "{}"), "forbidden", ""),
        (Say::status(404, "{}"), "not_found", ""),
        (Say::status(409, "{}"), "conflict", ""),
        (
            Say::Json(413, after("0"), quota.into()),
            "over_quota",
            "VolumeLimitExceeded",
        ),
        (Say::Json(413, after("30"), "{}".into()), "throttled", ""),
        (Say::Json(429, after("30"), "{}".into()), "throttled", ""),
        (
            Say::status(502, "<html>proxy</html>"),
            "unavailable",
            "proxy",
        ),
        (Say::status(500, "{}"), "unexpected", "500"),
        (Say::status(302, ""), "unexpected", "302"),
        (Say::ok("{"), "unexpected", "understood"),
        (Say::ok(r#"{"other":1}"#), "unexpected", "no volume"),
    ] {
        let fake = Fake::cinder(move |_, _| say.clone()).await;
        // A write where it can be, so that nothing is made again; a read for the answers' forms.
        let cinder = fake.cloud("timeout = \"2s\"").cinder(Scope::Home);
        let e = match kind {
            "unexpected" => cinder.volume("v1").await.unwrap_err(),
            _ => cinder.set_bootable("v1", true).await.unwrap_err(),
        };
        assert_eq!(e.kind(), kind, "{e}");
        assert!(e.to_string().contains(word), "{e}");
        assert!(e.to_string().contains("zone-a"), "{e}");
    }
}

#[tokio::test]
async fn a_throttled_read_waits_as_it_is_told() {
    let fake = Fake::cinder(|n, _| match n {
        0 => Say::Json(429, vec![("Retry-After", "1".into())], String::new()),
        _ => Say::ok(format!(r#"{{"volume":{}}}"#, volume("v1"))),
    })
    .await;
    let begun = Instant::now();
    fake.cloud("")
        .cinder(Scope::Home)
        .volume("v1")
        .await
        .unwrap();
    assert!(begun.elapsed() >= Duration::from_secs(1));

    // Longer than the call may take: said at once.
    let fake =
        Fake::cinder(|_, _| Say::Json(429, vec![("Retry-After", "600".into())], String::new()))
            .await;
    let e = fake
        .cloud("")
        .cinder(Scope::Home)
        .volume("v1")
        .await
        .unwrap_err();
    assert_eq!(e.retry_after(), Some(Duration::from_secs(600)));
    assert_eq!(fake.asked("/volumes/v1").len(), 1);
}

#[tokio::test]
async fn volumes_are_looked_at_by_their_ids_in_one_call() {
    let fake = Fake::cinder(|_, _| page(&["v1", "v2"], false)).await;
    let cinder = fake.cloud("").cinder(Scope::Home);
    let ids = ["v1", "v2", "gone"].map(str::to_owned);
    let found = cinder.volumes_of(&ids).await.unwrap();
    assert_eq!(found.len(), 2);
    let asked = fake.asked("/volumes/detail");
    let line = &asked[0].line;
    assert!(
        line.contains("all_tenants=1&id=%5B%27v1%27%2C%27v2%27%2C%27gone%27%5D&"),
        "{line}"
    );
    // A Cinder that does not filter is not believed.
    assert!(cinder.volumes_of(&ids[..1]).await.is_err());
}

#[tokio::test]
async fn a_groups_volumes_are_those_of_all_projects() {
    let fake = Fake::cinder(|_, _| page(&["v1", "v2"], false)).await;
    let cinder = fake.cloud("").cinder(Scope::Home);
    let found = cinder.volumes_in_group("g&1", 2).await.unwrap();
    assert_eq!(found.len(), 2);
    let asked = fake.asked("/volumes/detail");
    let line = &asked[0].line;
    assert!(line.contains("all_tenants=1&group_id=g%261&"), "{line}");
    let e = cinder.volumes_in_group("g", 1).await.unwrap_err();
    assert!(matches!(e, CloudError::TooMany { most: 1, .. }), "{e:?}");
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let fake = Fake::cinder(|n, _| match n {
        0 => page(&["v1", "v2"], true),
        1 => page(&["v3"], true),
        _ => page(&[], false),
    })
    .await;
    let cinder = fake.cloud("").cinder(Scope::Home);
    assert_eq!(cinder.volumes(10).await.unwrap().len(), 3);
    let asked = fake.asked("/volumes/detail");
    assert!(asked[0].line.contains("all_tenants=1"), "{asked:?}");
    assert!(asked[1].line.contains("&marker=v2"), "{asked:?}");
    assert!(asked[2].line.contains("&marker=v3"), "{asked:?}");

    let fake = Fake::cinder(|_, _| page(&["v1", "v2", "v3"], false)).await;
    let e = fake.cloud("").cinder(Scope::Home).volumes(2).await;
    assert!(
        matches!(e, Err(CloudError::TooMany { most: 2, .. })),
        "{e:?}"
    );

    // A server that knows no marker gives its first page for ever.
    let fake = Fake::cinder(|_, _| page(&["v1", "v2"], true)).await;
    match fake.cloud("").cinder(Scope::Home).volumes(1000).await {
        Err(CloudError::Unexpected { why, .. }) => assert!(why.contains("goes round"), "{why}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fake.asked("/volumes/detail").len(), 2);

    // The volume that the first page ended with is gone: not "not found" of anything that was asked for.
    let fake = Fake::cinder(|n, _| match n {
        0 => page(&["v1"], true),
        _ => Say::status(404, "{}"),
    })
    .await;
    match fake.cloud("").cinder(Scope::Home).volumes(10).await {
        Err(CloudError::Unexpected { why, .. }) => assert!(why.contains("changed"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_that_is_not_there_is_taken_away_and_a_volume_that_is_not_there_is_said() {
    let fake = Fake::cinder(|_, asked| {
        if asked.line.starts_with("DELETE") {
            Say::status(404, "{}")
        } else {
            Say::ok(r#"{"metadata":{}}"#)
        }
    })
    .await;
    let cinder = fake.cloud("").cinder(Scope::Home);
    cinder
        .delete_volume_metadata("v1", "rekindle:peer")
        .await
        .unwrap();
    let gone = fake.asked("DELETE");
    assert!(
        gone[0].line.contains("/metadata/rekindle%3Apeer "),
        "{gone:?}"
    );

    let fake = Fake::cinder(|_, _| Say::status(404, "{}")).await;
    let e = fake
        .cloud("")
        .cinder(Scope::Home)
        .delete_volume_metadata("v1", "k")
        .await;
    assert!(matches!(e, Err(CloudError::NotFound { .. })), "{e:?}");
}

#[tokio::test]
async fn a_server_of_another_authority_or_another_name_is_not_spoken_to() {
    let folder = tempfile::tempdir().unwrap();
    let authority = TestAuthority::new().unwrap();
    let good = authority
        .issue(folder.path(), "good", &["127.0.0.1"])
        .unwrap();
    let misnamed = authority
        .issue(folder.path(), "misnamed", &["192.0.2.1"])
        .unwrap();
    let other = TestAuthority::new().unwrap();
    let stranger = other
        .issue(folder.path(), "stranger", &["127.0.0.1"])
        .unwrap();
    let ca = format!("ca = \"{}\"\ntimeout = \"2s\"", good.ca.display());

    let fake = Fake::serve(Some(&good), |_, _| page(&["v1"], false)).await;
    let cloud = fake.cloud(&ca);
    assert_eq!(cloud.cinder(Scope::Home).volumes(5).await.unwrap().len(), 1);
    for files in [&misnamed, &stranger] {
        let fake = Fake::serve(Some(files), |_, _| page(&["v1"], false)).await;
        let e = fake
            .cloud(&ca)
            .cinder(Scope::Home)
            .volumes(5)
            .await
            .unwrap_err();
        assert!(matches!(e, CloudError::Untrusted { .. }), "{e:?}");
        assert!(e.in_full().contains("certificate"), "{}", e.in_full());
        assert_eq!(fake.asked("").len(), 0, "nothing was sent");
    }

    // The authorities' file is read again when it changes.
    std::fs::copy(&stranger.ca, &good.ca).unwrap();
    let e = cloud.cinder(Scope::Home).volumes(5).await.unwrap_err();
    assert!(matches!(e, CloudError::Untrusted { .. }), "{e:?}");
}

#[tokio::test]
async fn what_is_wrong_on_our_side_is_named() {
    let fake = Fake::cinder(|_, _| page(&[], false)).await;
    let mut config: CloudConfig = fake.cloud("").config().clone();
    let zone = || ZoneName::new("zone-a").unwrap();
    config.password_file = Some("/nowhere/secret".into());
    let e = Cloud::new(zone(), config.clone())
        .unwrap()
        .whoami(&Scope::Home)
        .await;
    assert!(
        e.unwrap_err()
            .to_string()
            .starts_with("clouds.zone-a.password_file: /nowhere/secret")
    );
    config.ca = Some("/nowhere/ca.pem".into());
    let e = Cloud::new(zone(), config).unwrap_err();
    assert!(e.to_string().starts_with("clouds.zone-a.ca: "), "{e}");

    let cloud = fake.cloud("region = \"elsewhere\"");
    let e = cloud.cinder(Scope::Home).volumes(5).await.unwrap_err();
    assert!(e.to_string().starts_with("clouds.zone-a.region: "), "{e}");
}

#[tokio::test]
async fn who_holds_a_token_is_asked_under_our_own() {
    let fake = Fake::cinder(|_, asked| {
        if asked.head.contains("x-subject-token: theirs") {
            Say::ok(
                r#"{"token":{"user":{"id":"u2","name":"v"},"project":{"id":"p2","name":"q"},"roles":[{"id":"r","name":"member"}]}}"#,
            )
        } else if asked.head.contains("x-subject-token: unscoped") {
            Say::ok(r#"{"token":{"user":{"id":"u3","name":"w"}}}"#)
        } else {
            Say::status(404, r#"{"error":{"message":"Could not recognize Fernet token"}}"#)
        }
    })
    .await;
    let cloud = fake.cloud("");
    let shown = |token: &'static str| hyper::header::HeaderValue::from_static(token);
    let holder = cloud.holder(&shown("theirs")).await.unwrap().unwrap();
    assert_eq!(
        (holder.user_id.as_str(), holder.project_id.as_deref()),
        ("u2", Some("p2"))
    );
    assert_eq!(holder.roles, ["member"]);
    let unscoped = cloud.holder(&shown("unscoped")).await.unwrap().unwrap();
    assert_eq!((unscoped.project_id, unscoped.roles.len()), (None, 0));
    assert_eq!(cloud.holder(&shown("forged")).await.unwrap(), None);
    let asked = fake.asked("GET /v3/auth/tokens?nocatalog ");
    assert_eq!(asked.len(), 3);
    assert!(asked[0].head.contains("x-auth-token: a-secret-token"));
}

/// Our own token is revoked: a new one, and the same question.
#[tokio::test]
async fn a_question_about_a_token_outlives_our_own() {
    let fake = Fake::cinder(|_, _| Say::status(401, r#"{"error":{"message":"revoked"}}"#)).await;
    let shown = hyper::header::HeaderValue::from_static("theirs");
    let refused = fake.cloud("").holder(&shown).await.unwrap_err();
    assert!(
        matches!(refused, CloudError::Unauthorized { .. }),
        "{refused}"
    );
    assert_eq!(fake.asked("POST /v3/auth/tokens").len(), 2);
    assert_eq!(fake.asked("GET /v3/auth/tokens").len(), 2);
}

/// What Keystone is sent, by a cloud of `clouds.yaml` with its secret in `secure.yaml`; and no message shows it.
#[tokio::test]
async fn an_application_credential_of_clouds_yaml_is_sent_and_never_shown() {
    let fake = Fake::cinder(|_, _| page(&[], false)).await;
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    let entry = format!(
        "clouds:\n  a:\n    auth_type: v3applicationcredential\n    auth:\n      auth_url: {}\n      application_credential_id: '6c0f'\n    region_name: R\n",
        fake.url
    );
    write("clouds.yaml", entry);
    let secret = |text: &str| {
        format!("clouds: {{a: {{auth: {{application_credential_secret: {text}}}}}}}\n")
    };
    write("secure.yaml", secret("'pw 1'"));
    let text = format!(
        "clouds_yaml = {:?}\ncloud = \"a\"",
        dir.path().join("clouds.yaml")
    );
    let config: CloudConfig = toml::from_str(&text).unwrap();
    let cloud = Cloud::new(ZoneName::new("zone-a").unwrap(), config).unwrap();
    cloud.whoami(&Scope::Home).await.unwrap();
    // Its secret is changed: the next token is asked for with the new one, without a restart.
    write("secure.yaml", secret("'pw 2'"));
    cloud.whoami(&Scope::Home).await.unwrap();
    let asked = fake.asked("POST /v3/auth/tokens");
    for (asked, secret) in asked.iter().zip(["pw 1", "pw 2"]) {
        let sent: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        let wanted = serde_json::json!({ "auth": { "identity": {
            "methods": ["application_credential"],
            "application_credential": { "id": "6c0f", "secret": secret },
        }}});
        assert_eq!(sent, wanted);
    }
    write("secure.yaml", secret("['pw 3']"));
    let e = cloud.whoami(&Scope::Home).await.unwrap_err().to_string();
    assert!(e.starts_with("clouds.zone-a.clouds_yaml: "), "{e}");
    assert!(
        e.contains("secure.yaml: cloud \"a\": auth.application_credential_secret is no plain text"),
        "{e}"
    );
    assert!(!e.contains("pw") && !format!("{cloud:?}").contains("pw"));
}
