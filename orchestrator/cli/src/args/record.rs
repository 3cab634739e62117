//! `rekindle record …`, as clap sees it.

use clap::{Args, Subcommand, ValueEnum};
use jiff::Timestamp;
use rekindle_common::{GroupName, ServerKey, ZoneName, servers::export::Form};
use std::path::PathBuf;

/// `rekindle record …`
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Make records of what a file says of servers: one file a server.
    Import(RecordImport),
    /// Write a record in another form, for a person who builds the server by hand.
    #[command(
        override_usage = "rekindle record export [OPTIONS] --as FORM FILE\n       rekindle record export [OPTIONS] --as FORM --group GROUP SERVER"
    )]
    Export {
        /// The form.
        #[arg(long = "as", value_enum, value_name = "FORM")]
        form: RecordForm,
        /// The record.
        #[command(flatten)]
        of: RecordOf,
    },
    /// Show a record; its user data never.
    #[command(
        override_usage = "rekindle record show [OPTIONS] FILE\n       rekindle record show [OPTIONS] --group GROUP SERVER"
    )]
    Show {
        /// The record.
        #[command(flatten)]
        of: RecordOf,
    },
    /// What changed from one record to the next, field by field.
    #[command(
        override_usage = "rekindle record diff [OPTIONS] BEFORE AFTER\n       rekindle record diff [OPTIONS] --group GROUP SERVER FILE"
    )]
    Diff {
        /// The record before, a file; with --group the server's name in the runbook, whose kept record is the one after.
        #[arg(value_name = "BEFORE|SERVER")]
        first: PathBuf,
        /// The record after, a file; with --group the file that is the one before.
        #[arg(value_name = "AFTER|FILE")]
        second: PathBuf,
        /// What changed from the file to what the orchestrators keep of a server of this group.
        #[arg(long, value_name = "GROUP")]
        group: Option<GroupName>,
    },
}

/// A record in a file, or the one that is kept of a group's server.
#[derive(Debug, Clone, Args)]
pub struct RecordOf {
    /// The record's file; with --group the server's name in the runbook.
    #[arg(value_name = "FILE|SERVER")]
    pub what: PathBuf,
    /// The record that the orchestrators keep of a server of this group: any one that reaches etcd answers.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
}

/// `rekindle record import`
#[derive(Debug, Clone, Args)]
pub struct RecordImport {
    /// What the file is.
    #[arg(long, value_enum, value_name = "ORIGIN")]
    pub from: RecordOrigin,
    /// The file; `-` is standard input (`terraform state pull | rekindle record import … -`: no secret is left on a disk).
    pub file: PathBuf,
    /// Whose Nova its ids are of.
    #[arg(long, required_if_eq("from", "terraform"))]
    pub zone: Option<ZoneName>,
    /// Only servers of this name or id; more than once for several.
    #[arg(long = "server", value_name = "NAME")]
    pub servers: Vec<String>,
    /// The folder for the records; made where it is not there [default: records; with --group none].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Keep them as this group's, in etcd: for servers of its runbook that were never built, or whose zone is gone.
    #[arg(long, value_name = "GROUP")]
    pub group: Option<GroupName>,
    /// With --group: the server's name in the runbook, for a file with one server, or with one --server [default: the record's name].
    #[arg(long = "as", value_name = "SERVER", requires = "group")]
    pub key: Option<ServerKey>,
    /// When what it says was true, RFC 3339 [default: the file's own time; of standard input, now].
    #[arg(long, value_name = "TIME")]
    pub taken_at: Option<Timestamp>,
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordOrigin {
    /// A Terraform or OpenTofu state, version 4.
    Terraform,
    /// JSON as docs/schemas/server-record.json says, of one server or many.
    Script,
}

/// A record's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RecordForm {
    /// Our own JSON, with everything, user data too.
    Json,
    /// Terraform's language.
    Terraform,
    /// A Heat template.
    Heat,
    /// A shell script that calls `openstack`.
    Shell,
}

impl From<RecordForm> for Form {
    fn from(form: RecordForm) -> Self {
        match form {
            RecordForm::Json => Self::Json,
            RecordForm::Terraform => Self::Terraform,
            RecordForm::Heat => Self::Heat,
            RecordForm::Shell => Self::Shell,
        }
    }
}
