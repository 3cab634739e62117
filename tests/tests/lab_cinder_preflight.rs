//! `rekindle preflight` against both zones' real Keystone and Cinder: well when they fit, and each gap by its name.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use rekindle_lab::Site;
use rekindle_tests::scenario::{CinderZone, Cloud, Look, until};
use serde_json::Value;
use std::{
    fs,
    path::PathBuf,
    process::{Command, Output},
    time::Duration,
};
use tempfile::TempDir;
use toml::Table;

/// The program's exit codes.
const WELL: i32 = 0;
const GAPS: i32 = 3;
const SILENT: i32 = 5;

/// A file for the program, and what it says of it.
struct Preflight<'a> {
    cloud: &'a Cloud,
    file: Table,
    mapping: String,
    /// Variables of the program's.
    environment: Vec<(String, String)>,
    scratch: TempDir,
}

impl<'a> Preflight<'a> {
    fn new(cloud: &'a Cloud, zones: &[&CinderZone<'_>]) -> anyhow::Result<Self> {
        let scratch = tempfile::tempdir()?;
        let text = toml::to_string(&cloud.orchestrator_config(Site::Witness)?)?;
        let mut file: Table = toml::from_str(&text)?;
        let mut clouds = Table::new();
        for zone in zones {
            let os = &zone.clients;
            let text = format!(
                "auth_url = \"{}\"\nusername = \"{}\"\npassword_file = \"{}\"\nproject = \"{}\"\ntimeout = \"60s\"\n\
                 backends = {{ volumes = \"{}@rekindle#rekindle\" }}",
                os.auth_url,
                os.admin.username,
                os.admin.password_file.display(),
                os.admin.project,
                zone.site
            );
            let one: Table = toml::from_str(&text)?;
            clouds.insert(zone.site.to_string(), one.into());
        }
        file.insert("clouds".into(), clouds.into());
        let mapping = scratch.path().join("mapping.toml").display().to_string();
        let catalogue: Table = [("mapping".to_owned(), mapping.into())]
            .into_iter()
            .collect();
        file.insert("catalogue".into(), catalogue.into());
        Ok(Self {
            cloud,
            file,
            mapping: "same_name = [\"projects\", \"types\"]\n".to_owned(),
            environment: Vec::new(),
            scratch,
        })
    }

    fn set(&mut self, zone: Site, field: &str, value: &str) {
        let cloud = &mut self.file["clouds"][zone.name()];
        cloud
            .as_table_mut()
            .unwrap()
            .insert(field.into(), value.into());
    }

    /// zone-a by the lab's `clouds.yaml`, and zone-b by the usual variables under a prefix of their own.
    fn by_other_sources(&mut self, a: &CinderZone<'_>, b: &CinderZone<'_>) -> anyhow::Result<()> {
        let own = |zone: Site, text: String| -> anyhow::Result<(String, toml::Value)> {
            let backends = format!(
                "backends = {{ volumes = \"{zone}@rekindle#rekindle\" }}\ntimeout = \"60s\"\n"
            );
            let table: Table = toml::from_str(&format!("{text}\n{backends}"))?;
            Ok((zone.to_string(), table.into()))
        };
        let os = &a.clients;
        let a = format!(
            "clouds_yaml = {:?}\ncloud = {:?}",
            os.clouds_yaml, os.admin.cloud
        );
        let (name, a) = own(Site::ZoneA, a)?;
        self.file["clouds"][name] = a;
        let (name, of_b) = own(Site::ZoneB, "environment = \"B_OS_\"".to_owned())?;
        self.file["clouds"][name] = of_b;
        let os = &b.clients;
        let password = fs::read_to_string(&os.admin.password_file)?;
        let all = [
            ("AUTH_URL", os.auth_url.as_str()),
            ("USERNAME", os.admin.username),
            ("PASSWORD", password.trim()),
            ("PROJECT_NAME", os.admin.project),
            ("USER_DOMAIN_ID", "default"),
            ("PROJECT_DOMAIN_ID", "default"),
            ("REGION_NAME", os.region),
            ("IDENTITY_API_VERSION", "3"),
        ];
        self.environment = all
            .map(|(name, value)| (format!("B_OS_{name}"), value.to_owned()))
            .into();
        Ok(())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn ended(&self) -> anyhow::Result<Output> {
        fs::write(self.path("mapping.toml"), &self.mapping)?;
        let file = self.path("orchestrator.toml");
        fs::write(&file, toml::to_string(&self.file)?)?;
        Ok(Command::new(self.cloud.rekindle())
            .envs(self.environment.iter().cloned())
            .args(["--output", "json", "preflight"])
            .arg(&file)
            .output()?)
    }

    /// What is said where the files cannot be used at all.
    fn refused(&self) -> anyhow::Result<String> {
        let ended = self.ended()?;
        assert!(!ended.status.success(), "{ended:?}");
        Ok(String::from_utf8_lossy(&ended.stderr).into_owned()
            + &String::from_utf8_lossy(&ended.stdout))
    }

    /// The exit code, and the gaps that are about this scenario: a lab that is kept has other scenarios' volume types.
    fn run(&self) -> anyhow::Result<(i32, Vec<Value>, Value)> {
        let ended = self.ended()?;
        let text = String::from_utf8_lossy(&ended.stdout);
        let said = String::from_utf8_lossy(&ended.stderr);
        let page: Value =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}: {said}"));
        let of_types = ["missing_type", "unmapped_type", "type_mismatch"];
        let ours = |gap: &&Value| {
            !of_types.contains(&gap["kind"].as_str().unwrap())
                || gap["what"].as_str().unwrap().contains(self.cloud.name())
        };
        let gaps = page["gaps"].as_array().unwrap();
        let gaps = gaps.iter().filter(ours).cloned().collect();
        Ok((ended.status.code().unwrap_or(-1), gaps, page))
    }
}

fn has(gaps: &[Value], kind: &str, zone: Option<Site>, word: &str) {
    let zone = zone.map(Site::name);
    let found = gaps.iter().any(|g| {
        g["kind"] == kind
            && g["zone"].as_str() == zone
            && g["what"].as_str().unwrap().contains(word)
            && !g["advice"].as_str().unwrap().is_empty()
    });
    assert!(found, "no {kind} of {zone:?} with {word:?}: {gaps:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hard_case_40_and_52_preflight_names_what_would_fail() -> anyhow::Result<()> {
    Cloud::play_with_cinder("preflight", async |cloud| {
        let (a, b) = (cloud.cinder(Site::ZoneA)?, cloud.cinder(Site::ZoneB)?);
        let fast = a.replicated_type("fast", &[])?;
        assert_eq!(b.replicated_type("fast", &[])?, fast);
        let volume = a.volume(&fast).await?;
        let mut preflight = Preflight::new(cloud, &[&a, &b])?;

        // The schedulers hear of a new backend within a minute.
        let what = "a preflight without a gap of ours";
        let page = until(what, Duration::from_secs(120), async || -> Look<Value> {
            let (exit, gaps, page) = preflight.run().map_err(|e| format!("{e:#}"))?;
            let other = page["gaps"].as_array().unwrap().len() - gaps.len();
            let well = exit == if other == 0 { WELL } else { GAPS };
            match (gaps.is_empty(), well) {
                (true, true) if page["unchecked"] == serde_json::json!([]) => Ok(page),
                _ => Err(format!("exit {exit}: {page:#}")),
            }
        })
        .await?;
        assert!(page["counts"]["volumes"].as_u64() >= Some(1), "{page}");

        // The same with who we are in a clouds.yaml, and in the environment; then without the password there.
        let file = preflight.file.clone();
        preflight.by_other_sources(&a, &b)?;
        let (_, gaps, page) = preflight.run()?;
        assert_eq!(
            (gaps.as_slice(), &page["unchecked"]),
            (&[][..], &serde_json::json!([])),
            "{page:#}"
        );
        preflight
            .environment
            .retain(|(name, _)| name != "B_OS_PASSWORD");
        let said = preflight.refused()?;
        assert!(
            said.contains("clouds.zone-b.environment: B_OS_PASSWORD is missing"),
            "{said}"
        );
        preflight.file = file;

        // Much at once, in the files and in the zones. The project is this scenario's own: of those of a lab that is kept another
        // scenario may have made us administrator.
        let strange = cloud.name();
        b.admin(&["project", "create", strange])?;
        preflight.mapping = format!(
            "same_name = [\"types\"]\n[[projects]]\nzone-a = \"admin\"\nzone-b = \"{strange}\"\n\
             [[projects]]\nzone-a = \"demo\"\nzone-b = \"nobody\"\n"
        );
        preflight.file["clouds"]["zone-b"]["backends"]["volumes"] = "zone-b@nobody#x".into();
        b.admin(&[
            "volume",
            "type",
            "set",
            "--property",
            "rekindle:mode=once",
            &fast,
        ])?;
        b.admin(&["quota", "set", "--volumes", "0", strange])?;
        let (exit, gaps, page) = preflight.run()?;
        assert_eq!(exit, GAPS, "{page:#}");
        has(
            &gaps,
            "not_administrator",
            Some(Site::ZoneB),
            &format!("Default:{strange}"),
        );
        has(&gaps, "mapped_project", None, "\"nobody\"");
        has(&gaps, "quota", Some(Site::ZoneB), "more volumes are needed");
        has(&gaps, "backend", Some(Site::ZoneB), "zone-b@nobody#x");
        has(
            &gaps,
            "type_mismatch",
            None,
            "rekindle:mode: instant and once",
        );

        // A wrong secret, and nobody at all.
        let secret = preflight.path("wrong.secret");
        fs::write(&secret, "not the password\n")?;
        preflight.mapping = "same_name = [\"projects\", \"types\"]\n".to_owned();
        preflight.set(Site::ZoneB, "password_file", &secret.display().to_string());
        let (exit, gaps, page) = preflight.run()?;
        assert_eq!(exit, GAPS, "{page:#}");
        has(&gaps, "wrong_secret", Some(Site::ZoneB), "refused");
        let nobody = format!("http://{}:1/v3", cloud.lab.addr(Site::ZoneB));
        preflight.set(Site::ZoneB, "auth_url", &nobody);
        let (exit, gaps, page) = preflight.run()?;
        let others = page["gaps"].as_array().unwrap().len() - gaps.len();
        assert_eq!(exit, if others == 0 { SILENT } else { GAPS }, "{page:#}");
        has(&gaps, "cloud_unreachable", Some(Site::ZoneB), "not reached");

        a.admin(&["volume", "delete", &volume])?;
        b.admin(&["project", "delete", strange])?;
        Ok(())
    })
    .await
}
