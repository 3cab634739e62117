//! `make bench-servers` in small: that it works, not how fast.

use anyhow::{Context, ensure};
use serde_json::Value;
use std::process::Command;

#[test]
fn the_runbooks_bench_starts_every_server_of_each_count() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("servers.json");
    let ran = Command::new(env!("CARGO_BIN_EXE_servers-bench"))
        .args(["--servers", "3", "--growth", "3,4"])
        .args(["--call-ms", "1", "--start-ms", "10"])
        .arg("--out")
        .arg(&out)
        .output()?;
    // So few servers say nothing of growth, and its judgement of that comes after the report.
    let report = std::fs::read(&out).with_context(|| {
        format!(
            "no report: {}{}",
            String::from_utf8_lossy(&ran.stdout),
            String::from_utf8_lossy(&ran.stderr)
        )
    })?;
    let report: Value = serde_json::from_slice(&report)?;
    ensure!(report["beside_nova"]["servers"] == 3, "{report:#}");
    let counts: Vec<_> = report["growth"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|m| m["servers"].as_u64())
        .collect();
    ensure!(counts == [Some(3), Some(4)], "{report:#}");
    Ok(())
}
