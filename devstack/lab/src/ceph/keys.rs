//! Keys of a zone's daemons and clients.
//!
//! All are in the keyring that the mon is made with, so not one `ceph auth` command is needed.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::error::Result;
use crate::layout::write_whole;
use crate::run::{Cmd, require};
use crate::services::SiteCtx;

/// Who gets a key, and what it may do.
const ENTITIES: [(&str, &[(&str, &str)]); 6] = [
    (
        "client.admin",
        &[
            ("mon", "allow *"),
            ("osd", "allow *"),
            ("mgr", "allow *"),
            ("mds", "allow *"),
        ],
    ),
    (
        "osd.0",
        &[
            ("mon", "allow profile osd"),
            ("mgr", "allow profile osd"),
            ("osd", "allow *"),
        ],
    ),
    (
        "mgr.x",
        &[
            ("mon", "allow profile mgr"),
            ("osd", "allow *"),
            ("mds", "allow *"),
        ],
    ),
    (
        "client.mirror",
        &[
            ("mon", "profile rbd-mirror"),
            ("osd", "profile rbd"),
            ("mgr", "profile rbd"),
        ],
    ),
    // What Cinder's manual gives it.
    (
        "client.cinder",
        &[
            ("mon", "profile rbd"),
            ("osd", "profile rbd pool=volumes"),
            ("mgr", "profile rbd pool=volumes"),
        ],
    ),
    // What a driver sidecar needs and no more: images of the one pool, and to fence clients.
    (
        "client.rekindle",
        &[
            (
                "mon",
                "profile rbd, allow command \"osd blocklist\", allow command \"osd blocklist ls\"",
            ),
            ("osd", "profile rbd pool=volumes"),
            ("mgr", "profile rbd pool=volumes"),
        ],
    ),
];

/// Writes the zone's keyring, and the one that the mon is made with, whose path it returns.
pub(crate) fn write_keyrings(ctx: &SiteCtx) -> Result<PathBuf> {
    let mut all = String::new();
    for (entity, caps) in ENTITIES {
        section(&mut all, entity, &new_key()?, caps);
    }
    write_whole(&ctx.dirs.keyring(), &all)?;
    // The mon's own key is known to the mon alone.
    section(&mut all, "mon.", &new_key()?, &[("mon", "allow *")]);
    let path = ctx.dirs.data("mon-keyring");
    write_whole(&path, &all)?;
    Ok(path)
}

fn section(text: &mut String, entity: &str, key: &str, caps: &[(&str, &str)]) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "[{entity}]\n\tkey = {key}");
    for (service, cap) in caps {
        let _ = writeln!(text, "\tcaps {service} = \"{}\"", cap.replace('"', "\\\""));
    }
}

fn new_key() -> Result<String> {
    let program = require("ceph-authtool", "ceph-common")?;
    Ok(Cmd::new(program)
        .arg("--gen-print-key")
        .run()?
        .stdout
        .trim()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_inside_a_capability_are_escaped() {
        let mut text = String::new();
        section(
            &mut text,
            "client.x",
            "KEY",
            &[("mon", "allow command \"a b\"")],
        );
        assert_eq!(
            text,
            "[client.x]\n\tkey = KEY\n\tcaps mon = \"allow command \\\"a b\\\"\"\n"
        );
    }
}
