//! `rekindle server …`: the groups' servers, as the leader saw them last.

use super::words::{ago, moment, plural};
use crate::{
    args::ServerCommand,
    connect::Peers,
    error::CliError,
    exit::Exit,
    output::{Document, Output, Page},
};
use rekindle_common::{GroupName, ServerKey, runbook::StandbyPolicy};
use rekindle_orchestrator::wire::{ServerView, ServersStatus};
use serde::Serialize;

/// A list of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct ServerList(pub(super) ServersStatus);

/// One of them.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(super) struct ServerPage(pub(super) ServerView);

/// Runs it.
///
/// # Errors
/// [`CliError`].
pub(super) async fn run(
    command: ServerCommand,
    peers: &Peers,
    output: &Output,
) -> Result<Exit, CliError> {
    let mut status = peers
        .orchestrator()?
        .servers()
        .await
        .map_err(CliError::Api)?;
    match command {
        ServerCommand::List { group } => {
            of_group(&mut status, group.as_ref());
            output.document(&ServerList(status))?;
        }
        ServerCommand::Show { server, group } => {
            of_group(&mut status, group.as_ref());
            let view = one(status.servers, &server)?;
            output.document(&ServerPage(view))?;
        }
    }
    Ok(Exit::Ok)
}

fn of_group(status: &mut ServersStatus, group: Option<&GroupName>) {
    if let Some(group) = group {
        status.servers.retain(|s| s.group == *group);
    }
}

fn one(all: Vec<ServerView>, key: &ServerKey) -> Result<ServerView, CliError> {
    let mut fits: Vec<ServerView> = all.into_iter().filter(|s| s.key == *key).collect();
    match (fits.pop(), fits.as_slice()) {
        (Some(one), []) => Ok(one),
        (Some(last), others) => {
            let groups: Vec<&str> = others
                .iter()
                .chain([&last])
                .map(|s| s.group.as_str())
                .collect();
            Err(CliError::usage(format!(
                "groups {} have a server {key}: say --group",
                groups.join(", ")
            )))
        }
        (None, _) => Err(CliError::usage(format!(
            "no server {key} is followed: `rekindle server list` shows all that are"
        ))),
    }
}

fn word(policy: StandbyPolicy) -> &'static str {
    match policy {
        StandbyPolicy::Shutoff => "shutoff",
        StandbyPolicy::Shelved => "shelved",
        StandbyPolicy::Record => "record",
        StandbyPolicy::None => "none",
    }
}

fn or(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".to_owned())
}

impl Document for ServerList {
    fn text(&self, page: &mut Page) {
        let s = &self.0;
        page.line(format!("as {} saw it at {}", s.site, moment(s.at)));
        if s.servers.is_empty() {
            page.line("no server is protected");
            return;
        }
        let head = [
            "SERVER",
            "GROUP",
            "SERVES IN",
            "IT IS",
            "POLICY",
            "STAND-BY",
            "RECORD",
        ];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        for v in &s.servers {
            rows.push(vec![
                v.key.to_string(),
                v.group.to_string(),
                or(v.primary.as_ref().map(ToString::to_string)),
                or(v.serving.clone()),
                word(v.standby).to_owned(),
                or(v.stands_by.clone()),
                or(v.recorded_at.map(|at| ago(at, s.at))),
            ]);
        }
        page.table(2, &rows);
        if s.more > 0 {
            page.line(format!("  and {}", plural(s.more, "more server")));
        }
        let troubled = s
            .servers
            .iter()
            .filter_map(|v| Some((v, v.trouble.as_ref()?)));
        for (n, (v, trouble)) in troubled.enumerate() {
            if n == 0 {
                page.heading("To be seen to");
            }
            page.loud(format!("  {} of {}", v.key, v.group));
            page.line(format!("    {trouble}"));
        }
    }
}

impl Document for ServerPage {
    fn text(&self, page: &mut Page) {
        let v = &self.0;
        page.heading(format!("Server {} of group {}", v.key, v.group));
        let serves = match (&v.primary, &v.serving) {
            (Some(zone), Some(is)) => format!("{zone}: {is}"),
            (_, _) => "not looked at".to_owned(),
        };
        page.line(format!("  serves in {serves}"));
        page.line(format!(
            "  stand-by ({}): {}",
            word(v.standby),
            or(v.stands_by.clone())
        ));
        page.line(format!("  record taken {}", or(v.recorded_at.map(moment))));
        for (zone, id) in &v.instances {
            page.line(format!("  in {zone} it is {id}"));
        }
        if let Some(trouble) = &v.trouble {
            page.loud(format!("  {trouble}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(group: &str, key: &str) -> ServerView {
        ServerView {
            group: group.parse().unwrap(),
            key: key.parse().unwrap(),
            standby: StandbyPolicy::Shutoff,
            standby_state: Default::default(),
            primary: Some("zone-a".parse().unwrap()),
            serving: Some("running".to_owned()),
            stands_by: Some("SHUTOFF, powered off".to_owned()),
            recorded_at: None,
            instances: [("zone-a".parse().unwrap(), "s1".to_owned())].into(),
            trouble: None,
        }
    }

    #[test]
    fn one_is_found_by_its_name_or_it_is_said_why_not() {
        let all = || vec![view("shop", "web-1"), view("shop", "db"), view("lab", "db")];
        assert_eq!(
            one(all(), &"web-1".parse().unwrap()).unwrap(),
            view("shop", "web-1")
        );
        let e = one(all(), &"db".parse().unwrap())
            .unwrap_err()
            .for_a_person();
        assert!(
            e.contains("shop") && e.contains("lab") && e.contains("--group"),
            "{e}"
        );
        let e = one(all(), &"mail".parse().unwrap())
            .unwrap_err()
            .for_a_person();
        assert!(e.contains("rekindle server list"), "{e}");
    }
    #[test]
    fn a_list_shows_each_and_loudly_what_is_in_the_way() {
        let mut troubled = view("shop", "db");
        troubled.trouble = Some("over quota: instances: 1 needed, 0 left of 10".to_owned());
        let mut waiting = view("shop", "mail");
        (waiting.primary, waiting.serving, waiting.stands_by) = (None, None, None);
        let status = ServersStatus {
            site: "zone-b".parse().unwrap(),
            at: "2026-01-02T03:10:00Z".parse().unwrap(),
            servers: vec![view("shop", "web-1"), troubled.clone(), waiting],
            more: 0,
        };
        let text = |d: &dyn Fn(&mut Page)| {
            let mut page = Page::new(false);
            d(&mut page);
            page.into_text()
        };
        let list = ServerList(status);
        let text_of_list = text(&|p| list.text(p));
        for words in [
            "web-1",
            "running",
            "shutoff",
            "SHUTOFF, powered off",
            "To be seen to",
            "db of shop",
            "over quota",
        ] {
            assert!(text_of_list.contains(words), "{words}: {text_of_list}");
        }
        let page = ServerPage(troubled);
        let text_of_one = text(&|p| page.text(p));
        for words in [
            "Server db of group shop",
            "serves in zone-a: running",
            "in zone-a it is s1",
            "over quota",
        ] {
            assert!(text_of_one.contains(words), "{words}: {text_of_one}");
        }
    }
}
