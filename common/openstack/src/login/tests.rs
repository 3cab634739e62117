use super::*;
use std::{collections::BTreeMap, fs, path::Path};
use tempfile::TempDir;

const CLOUDS: &str = r#"
defaults: &net
  cacert: /etc/ssl/cloud.pem
  verify: true
clouds:
  prod-a:
    <<: *net
    auth:
      auth_url: https://a.example:5000
      username: rekindle
      password: pw-in-clouds
      user_domain_id: default
      project_name: service
      project_domain_name: Ops
    region_name: One
    interface: internal
    identity_api_version: 3
    volume_api_version: 3
  app:
    auth_type: v3applicationcredential
    auth: {auth_url: "https://b.example:5000/v3", application_credential_id: 6c0f}
    regions: [One, Two]
"#;
const SECURE: &str = "clouds:\n  app:\n    auth: {application_credential_secret: pw-in-secure}\n  prod-a:\n    auth: {password: pw-in-secure}\n";

struct Ground(TempDir);

impl Ground {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("clouds.yaml"), CLOUDS).unwrap();
        fs::write(dir.path().join("secure.yaml"), SECURE).unwrap();
        Self(dir)
    }
    fn clouds(&self) -> std::path::PathBuf {
        self.0.path().join("clouds.yaml")
    }
    fn config(&self, cloud: &str, more: &str) -> CloudConfig {
        let file = self.clouds();
        let text = format!("clouds_yaml = {file:?}\ncloud = {cloud:?}\n{more}");
        toml::from_str(&text).unwrap()
    }
}

/// What is said of it; never a secret.
fn refused(login: Result<Login, InvalidConfig>) -> String {
    let said = login.unwrap_err().to_string();
    assert!(!said.contains("pw-"), "{said}");
    said
}

fn variables(all: &[(&str, &str)]) -> BTreeMap<String, String> {
    let own = |(k, v): &(&str, &str)| ((*k).to_owned(), (*v).to_owned());
    all.iter().map(own).collect()
}

fn by(environment: &str, all: &BTreeMap<String, String>) -> Result<Login, InvalidConfig> {
    let config: CloudConfig = toml::from_str(environment).unwrap();
    Login::read(&config, &|name| all.get(name).cloned())
}

#[test]
fn a_cloud_is_read_with_its_secret_from_secure_yaml() {
    let ground = Ground::new();
    let login = Login::read(&ground.config("prod-a", ""), &|_| None).unwrap();
    assert_eq!(login.keystone.to_string(), "https://a.example:5000/v3");
    assert_eq!(login.region.as_deref(), Some("One"));
    assert_eq!(login.interface, Interface::Internal);
    assert_eq!(login.ca.as_deref(), Some(Path::new("/etc/ssl/cloud.pem")));
    let Who::Password {
        user,
        project,
        secret,
    } = &login.who
    else {
        panic!("{login:?}");
    };
    let id = Domain::Id("default".to_owned());
    assert_eq!(*user, Named::Name("rekindle".to_owned(), id));
    let name = Domain::Name("Ops".to_owned());
    assert_eq!(*project, Named::Name("service".to_owned(), name));
    assert_eq!(secret.read(&|_| None).unwrap(), "pw-in-secure");

    // What has no value there hides nothing.
    let beside = ground.0.path().join("secure.yaml");
    fs::write(&beside, "clouds: {prod-a: {auth: {password: ~}}}").unwrap();
    assert_eq!(secret.read(&|_| None).unwrap(), "pw-in-clouds");
    fs::write(&beside, SECURE).unwrap();

    // It is read anew each time: a new one is taken without a restart, and a missing one is said.
    fs::remove_file(ground.0.path().join("secure.yaml")).unwrap();
    let e = secret.read(&|_| None).unwrap_err();
    assert!(e.why.contains("secure.yaml: cannot be read"), "{e:?}");
    let login = Login::read(&ground.config("prod-a", ""), &|_| None).unwrap();
    let Who::Password { secret, .. } = &login.who else {
        panic!("{login:?}");
    };
    assert_eq!(secret.read(&|_| None).unwrap(), "pw-in-clouds");
    let changed = CLOUDS.replace("pw-in-clouds", "pw-of-today");
    fs::write(ground.clouds(), changed).unwrap();
    assert_eq!(secret.read(&|_| None).unwrap(), "pw-of-today");
    fs::write(
        ground.clouds(),
        CLOUDS.replace("      password: pw-in-clouds\n", ""),
    )
    .unwrap();
    let e = secret.read(&|_| None).unwrap_err();
    assert!(
        e.why.contains("\"prod-a\": auth.password is missing"),
        "{e:?}"
    );
    assert!(!format!("{login:?}").contains("pw-"));
}

#[test]
fn an_application_credential_is_read_and_its_region_is_chosen_here() {
    let ground = Ground::new();
    let e = refused(Login::read(&ground.config("app", ""), &|_| None));
    assert!(e.contains("regions has several"), "{e}");
    let config = ground.config("app", "region = \"Two\"\ninterface = \"admin\"");
    let login = Login::read(&config, &|_| None).unwrap();
    assert_eq!(login.region.as_deref(), Some("Two"));
    assert_eq!(login.interface, Interface::Admin);
    let Who::Application { credential, secret } = &login.who else {
        panic!("{login:?}");
    };
    assert_eq!(*credential, Application::Id("6c0f".to_owned()));
    assert_eq!(secret.read(&|_| None).unwrap(), "pw-in-secure");
    let e = refused(Login::read(
        &ground.config("app", "region = \"Six\""),
        &|_| None,
    ));
    assert!(e.contains("does not have the region"), "{e}");
}

#[test]
fn what_is_wrong_is_told_with_file_cloud_and_field() {
    for (from, to, words) in [
        ("      username: rekindle\n", "", "auth.username is missing"),
        (
            "https://a.example:5000",
            "a.example",
            "auth.auth_url cannot be used",
        ),
        (
            "      auth_url: https://a.example:5000\n",
            "",
            "auth.auth_url is missing",
        ),
        ("username:", "user_name:", "auth.user_name is no field"),
        (
            "username: rekindle",
            "username: [pw-1]",
            "auth.username is no plain text",
        ),
        (
            "password: pw-in-clouds",
            "password: !vault pw-1",
            "auth.password is no plain text",
        ),
        (
            "    region_name: One",
            "    auth_type: v3oidcpassword",
            "auth_type is not one of",
        ),
        (
            "interface: internal",
            "interface: private",
            "interface is not one of",
        ),
        (
            "verify: true",
            "verify: false",
            "verify would have certificates unchecked",
        ),
        (
            "/etc/ssl/cloud.pem",
            "cloud.pem",
            "cacert is no absolute path",
        ),
        (
            "identity_api_version: 3",
            "identity_api_version: 2",
            "identity_api_version is not 3",
        ),
        (
            "    region_name: One",
            "    profile: vendor",
            "profile is not followed",
        ),
        (
            "    region_name: One",
            "    cert: /c",
            "cert is not followed",
        ),
        (
            "    region_name: One",
            "    compute_endpoint_override: http://x",
            "compute_endpoint_override is not followed",
        ),
        (
            "      username: rekindle",
            "      username: rekindle\n      system_scope: all",
            "auth.system_scope is not followed",
        ),
        (
            "      username: rekindle",
            "      username: rekindle\n      application_credential_id: x",
            "auth_type is needed",
        ),
        (
            "      project_name: service\n",
            "",
            "auth.project_name is missing",
        ),
        (
            "  prod-a:",
            "  prod-c:",
            "no cloud \"prod-a\"; there are: app, prod-c",
        ),
        ("clouds:\n", "cloud:\n", "no clouds.yaml"),
        (
            "      username: rekindle",
            "     username: \"pw-1",
            "this is no YAML",
        ),
    ] {
        assert!(CLOUDS.contains(from), "{from}");
        let ground = Ground::new();
        fs::remove_file(ground.0.path().join("secure.yaml")).unwrap();
        fs::write(ground.clouds(), CLOUDS.replacen(from, to, 1)).unwrap();
        let e = refused(Login::read(&ground.config("prod-a", ""), &|_| None));
        assert!(e.contains(words), "{to}: {e}");
        assert!(
            e.starts_with("clouds_yaml: ") && e.contains("clouds.yaml: "),
            "{e}"
        );
    }
    // What stands in the other file is told as there.
    let ground = Ground::new();
    let secure = SECURE.replace("{password: pw-in-secure}", "{password: [pw-in-secure]}");
    fs::write(ground.0.path().join("secure.yaml"), secure).unwrap();
    let e = refused(Login::read(&ground.config("prod-a", ""), &|_| None));
    assert!(
        e.contains("secure.yaml: cloud \"prod-a\": auth.password"),
        "{e}"
    );
    let config = ground.config("prod-a", "secure_yaml = \"/no/such/secure.yaml\"");
    let e = refused(Login::read(&config, &|_| None));
    assert!(e.contains("/no/such/secure.yaml: cannot be read"), "{e}");
}

#[test]
fn the_usual_variables_are_read_under_their_prefix() {
    let openrc = [
        ("B_OS_AUTH_URL", "https://b.example:5000"),
        ("B_OS_USERNAME", "rekindle"),
        ("B_OS_PASSWORD", "pw-1"),
        ("B_OS_PROJECT_ID", "p1"),
        ("B_OS_PROJECT_NAME", "service"),
        ("B_OS_USER_DOMAIN_NAME", "Ops"),
        ("B_OS_REGION_NAME", "Two"),
        ("B_OS_ENDPOINT_TYPE", "internalURL"),
        ("B_OS_IDENTITY_API_VERSION", "3"),
        ("OS_AUTH_URL", "https://not.this.one"),
    ];
    let login = by("environment = \"B_OS_\"", &variables(&openrc)).unwrap();
    assert_eq!(login.keystone.to_string(), "https://b.example:5000/v3");
    assert_eq!(
        (login.region.as_deref(), login.interface),
        (Some("Two"), Interface::Internal)
    );
    let Who::Password {
        user,
        project,
        secret,
    } = &login.who
    else {
        panic!("{login:?}");
    };
    assert_eq!(*project, Named::Id("p1".to_owned()));
    let domain = Domain::Name("Ops".to_owned());
    assert_eq!(*user, Named::Name("rekindle".to_owned(), domain));
    assert_eq!(
        secret
            .read(&|n| (n == "B_OS_PASSWORD").then(|| "pw-2".to_owned()))
            .unwrap(),
        "pw-2"
    );
    assert_eq!(
        secret.read(&|_| None).unwrap_err().why,
        "B_OS_PASSWORD is not set"
    );

    for (less, more, words) in [
        ("B_OS_PASSWORD", None, "B_OS_PASSWORD is missing"),
        ("B_OS_AUTH_URL", None, "B_OS_AUTH_URL is missing"),
        (
            "",
            Some(("B_OS_INSECURE", "true")),
            "B_OS_INSECURE would have",
        ),
        (
            "",
            Some(("B_OS_TOKEN", "pw-3")),
            "B_OS_TOKEN is not followed",
        ),
        (
            "",
            Some(("B_OS_IDENTITY_API_VERSION", "2")),
            "B_OS_IDENTITY_API_VERSION is not 3",
        ),
        (
            "",
            Some(("B_OS_CLOUD", "prod-a")),
            "B_OS_AUTH_URL is set beside B_OS_CLOUD",
        ),
    ] {
        let mut all = variables(&openrc);
        all.remove(less);
        all.extend(more.map(|(k, v)| (k.to_owned(), v.to_owned())));
        let e = refused(by("environment = \"B_OS_\"", &all));
        assert!(e.starts_with("environment: ") && e.contains(words), "{e}");
    }
}

#[test]
fn os_cloud_names_an_entry_and_variables_win_over_where_to_look_in_it() {
    let ground = Ground::new();
    let file = ground.clouds().display().to_string();
    let secure = ground.0.path().join("secure.yaml").display().to_string();
    let mut all = variables(&[
        ("OS_CLOUD", "prod-a"),
        ("OS_CLIENT_CONFIG_FILE", &file),
        ("OS_CLIENT_SECURE_FILE", &secure),
        ("OS_REGION_NAME", "Three"),
    ]);
    let login = by("environment = \"OS_\"", &all).unwrap();
    assert_eq!(
        (login.region.as_deref(), login.interface),
        (Some("Three"), Interface::Internal)
    );
    let own = "environment = \"OS_\"\nregion = \"Four\"";
    assert_eq!(by(own, &all).unwrap().region.as_deref(), Some("Four"));
    all.insert("OS_PASSWORD".to_owned(), "pw-1".to_owned());
    let e = refused(by("environment = \"OS_\"", &all));
    assert!(e.contains("OS_PASSWORD is set beside OS_CLOUD"), "{e}");
    let app = variables(&[
        ("OS_CLOUD", "app"),
        ("OS_CLIENT_CONFIG_FILE", &file),
        ("OS_REGION_NAME", "Two"),
    ]);
    let login = by("environment = \"OS_\"", &app).unwrap();
    assert_eq!(login.region.as_deref(), Some("Two"));
    let e = refused(by(
        "environment = \"OS_\"",
        &variables(&[("OS_CLOUD", "app"), ("OS_CLIENT_CONFIG_FILE", "/no/such")]),
    ));
    assert!(e.contains("/no/such: cannot be read"), "{e}");
}
