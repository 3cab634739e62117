use super::*;
use clap::{CommandFactory, error::ErrorKind};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("rekindle").chain(line.split_whitespace()))
}

#[test]
fn the_tree_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_parses() {
    for line in [
        "status",
        "--output json status",
        "status --output json",
        "volume list",
        "volume list --zone zone-a --group db",
        "volume show volumes/v1",
        "volume replicate volumes/v1 --mode instant",
        "volume replicate volumes/v1 volumes/v2 --mode once --group db --zone zone-a",
        "volume replicate volumes/v1 --mode periodic --interval 15m --start 2026-01-01T00:00:00Z",
        "volume replicate volumes/v1 --mode instant --leave-group",
        "volume unreplicate volumes/v1",
        "volume promote volumes/v1 --zone zone-b",
        "volume promote volumes/v1 --force --reason lost",
        "volume promote volumes/v1 --force --reason lost --accept-torn",
        "volume demote volumes/v1",
        "volume resync volumes/v1 --discard",
        "group list",
        "group show db",
        "group create db --home zone-a --away zone-b --failover automatic --lease-ttl 30s",
        "group create db --file db.toml",
        "group set db --hold-off 1m",
        "group delete db",
        "group resume db --dry-run",
        "group reprotect db --no-wait",
        "failover db --dry-run",
        "move db --to zone-b --no-wait",
        "failback db",
        "approve db failover --vouch-cannot-write --accept-loss --by me",
        "approve db reprotect --by me",
        "approve db --by me",
        "approve db --level 2 --by me",
        "acknowledge db",
        "maintenance on --reason update",
        "maintenance off",
        "freeze zone-a --reason disk",
        "thaw zone-a",
        "plan show p-1 --watch",
        "plan list --limit 5",
        "plan retry p-1",
        "plan give-up p-1",
        "history",
        "history db",
        "preflight",
        "preflight orchestrator.toml --output json",
        "record import --from terraform --zone zone-a terraform.tfstate",
        "record import --from script servers.json --server web --server db --out records --taken-at 2026-01-01T00:00:00Z",
        "record import --from script --group shop --server web --as web-1 servers.json",
        "record import --from script -",
        "record export --as json web.json",
        "record export --as terraform web.json",
        "record export --as heat web.json",
        "record export --as shell web.json --output json",
        "record show web.json",
        "record diff a.json b.json",
        "record export --as shell --group shop web-1",
        "record show web-1 --group shop",
        "record diff --group shop web-1 a.json",
        "cinder repair",
        "cinder repair --apply --config-file a.conf --config-file b.conf --backend ceph --program /p --older-than 1h --away-too",
        "config check a.toml b.toml",
        "demo",
        "demo --embedded --volumes 6 --report out.json",
        "completions zsh",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn bad_lines_are_usage_errors_before_anything_is_asked() {
    for (line, kind) in [
        ("volume show v1", ErrorKind::ValueValidation),
        (
            "volume replicate volumes/v1",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "volume replicate volumes/v1 --mode hourly",
            ErrorKind::InvalidValue,
        ),
        (
            "volume replicate volumes/v1 --mode periodic",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "volume replicate volumes/v1 --mode periodic --interval soon",
            ErrorKind::ValueValidation,
        ),
        (
            "volume replicate volumes/v1 --mode periodic --interval 15m --start noon",
            ErrorKind::ValueValidation,
        ),
        (
            "volume replicate volumes/v1 --mode once --group db --leave-group",
            ErrorKind::ArgumentConflict,
        ),
        // Force is never a flag by itself: somebody says why.
        (
            "volume promote volumes/v1 --force",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "volume promote volumes/v1 --accept-torn",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "volume promote volumes/v1 --reason x",
            ErrorKind::MissingRequiredArgument,
        ),
        ("volume promote", ErrorKind::MissingRequiredArgument),
        ("group create db", ErrorKind::MissingRequiredArgument),
        ("group show Db", ErrorKind::ValueValidation),
        ("move db", ErrorKind::MissingRequiredArgument),
        (
            "failover db --dry-run --no-wait",
            ErrorKind::ArgumentConflict,
        ),
        ("approve db everything --by me", ErrorKind::InvalidValue),
        ("maintenance on", ErrorKind::MissingRequiredArgument),
        ("demo --volumes 2", ErrorKind::ValueValidation),
        ("demo --embedded --keep", ErrorKind::ArgumentConflict),
        // Ids without their zone are nobody's.
        (
            "record import --from terraform terraform.tfstate",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "record import terraform.tfstate",
            ErrorKind::MissingRequiredArgument,
        ),
        ("record import --from nova x", ErrorKind::InvalidValue),
        ("record export --as yaml x", ErrorKind::InvalidValue),
        ("record export x.json", ErrorKind::MissingRequiredArgument),
        ("record diff a.json", ErrorKind::MissingRequiredArgument),
        // With a group one says which server, and what it is compared to.
        (
            "record export --as shell --group shop",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "record show --group shop",
            ErrorKind::MissingRequiredArgument,
        ),
        ("record show --group Shop web-1", ErrorKind::ValueValidation),
        (
            "record show --group shop web-1 a.json",
            ErrorKind::UnknownArgument,
        ),
        (
            "record diff --group shop web-1",
            ErrorKind::MissingRequiredArgument,
        ),
        (
            "cinder repair --older-than soon",
            ErrorKind::ValueValidation,
        ),
        ("config check", ErrorKind::MissingRequiredArgument),
        ("", ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand),
    ] {
        assert_eq!(parse(line).unwrap_err().kind(), kind, "{line}");
    }
}

#[test]
fn help_shows_the_exit_codes() {
    let help = Cli::command().render_help().to_string();
    for exit in crate::exit::Exit::ALL {
        assert!(help.contains(exit.meaning()), "{exit:?}");
    }
    assert!(!help.contains("demo-writer"), "hidden commands stay hidden");
}

/// A yes to a pause is for nothing else, and a vouch belongs to what is named.
#[test]
fn a_pause_is_approved_alone() {
    for line in [
        "approve db --vouch-cannot-write --by me",
        "approve db --accept-loss --by me",
        "approve db failover --level 2 --by me",
        "approve db --level 0 --by me",
        "approve db --level 65 --by me",
    ] {
        assert!(parse(line).is_err(), "{line}");
    }
}
