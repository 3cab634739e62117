//! Hooks and waits that are real processes, and badly behaved: within a plan, by the orchestrator's own runner.

use super::{assert_well, bench, ended, failed, hooks_failed, run};
use crate::common::{
    bench::{Bench, Kind},
    group, zone_a, zone_b,
};
use rekindle_common::{Generation, keys, lease::PrimaryRecord};
use rekindle_core::saga::{End, Event};
use rekindle_orchestrator::agent::{AgentAction, CommandAgent};
use std::{
    path::Path,
    time::{Duration, Instant},
};

/// Long enough for a shell on a busy machine, and short for a test.
const TIME: Duration = Duration::from_secs(3);
/// What a text of a command's may have in the journal, with the words around it.
const TEXT: usize = 12 * 1024;

fn sh(script: &str, timeout: Duration) -> CommandAgent {
    CommandAgent {
        command: vec!["/bin/bash".to_owned(), "-c".to_owned(), script.to_owned()],
        timeout,
    }
}

/// It does not end when it is asked to, and neither does its child; both write down who they are.
fn stubborn(pids: &Path) -> String {
    let pids = pids.display();
    format!(
        "trap '' TERM INT HUP; (trap '' TERM; echo $BASHPID >> {pids}; sleep 600) & echo $$ >> {pids}; sleep 600"
    )
}

/// Gone, or dead and only not yet collected.
fn is_gone(pid: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
}

/// All that wrote themselves down.
fn all_gone(pids: &Path) {
    let text = std::fs::read_to_string(pids).unwrap();
    assert_eq!(text.lines().count() % 2, 0, "{text}");
    assert!(!text.is_empty());
    let end = Instant::now() + Duration::from_secs(10);
    while !text.lines().all(is_gone) {
        assert!(Instant::now() < end, "still there: {text}");
        std::thread::yield_now();
    }
}

/// Rubbish that a terminal or a journal should never see: megabytes, no text at all, and a terminal's orders.
const RUBBISH: &str = "head -c 4000000 /dev/urandom; printf '\\033]0;owned\\007\\033[2J\\000'; head -c 4000000 /dev/urandom >&2";

fn is_clean(text: &str) {
    assert!(text.len() < TEXT, "{} bytes", text.len());
    let odd = |c: &char| c.is_control() && *c != '\n' && *c != '\t';
    assert_eq!(text.chars().find(odd), None, "{text:?}");
}

async fn nothing_was_touched(bench: &Bench) {
    let kv = bench.store().get(&keys::group_primary(&group())).await;
    let record: PrimaryRecord = kv.unwrap().unwrap().json().unwrap();
    assert_eq!((record.zone, record.generation), (zone_a(), Generation(1)));
    assert_eq!(bench.rig.primaries(&zone_a()), 3);
    assert_eq!(bench.rig.primaries(&zone_b()), 0);
    assert_eq!(bench.rig.nova(&zone_b()).serving(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn hard_case_22_a_hook_that_hangs_before_the_first_promotion_is_killed_and_ends_the_plan() {
    let dir = tempfile::tempdir().unwrap();
    for kind in [Kind::FailoverByLease, Kind::Move] {
        let pids = dir.path().join(format!("{kind:?}"));
        let bench = bench(kind).await;
        let hook = sh(&stubborn(&pids), TIME);
        bench.rig.told.command(AgentAction::Before, hook);
        let before = Instant::now();
        let (id, over) = run(&bench).await;
        assert_eq!(over, ended(End::Abandoned), "{kind:?}");
        assert!(before.elapsed() < 4 * TIME, "{:?}", before.elapsed());
        let why = format!("{:?}", bench.records(&id).await);
        assert!(
            why.contains("did not end within 3s and was killed"),
            "{why}"
        );
        all_gone(&pids);
        nothing_was_touched(&bench).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_22_hooks_and_waits_that_hang_after_the_promotion_hold_up_no_server_but_their_own()
 {
    let dir = tempfile::tempdir().unwrap();
    let (hook, wait) = (dir.path().join("hook"), dir.path().join("wait"));
    let bench = bench(Kind::FailoverByLease).await;
    let told = &bench.rig.told;
    told.command(AgentAction::After, sh(&stubborn(&hook), TIME));
    // It hangs twice; asked again for as long as the runbook says, it fails at once, so that this ends.
    let ready = format!(
        "[ \"$(cat {0} 2>/dev/null | wc -l)\" -lt 4 ] || exit 1; {1}",
        wait.display(),
        stubborn(&wait)
    );
    told.command(AgentAction::Ready, sh(&ready, TIME));
    let (id, over) = run(&bench).await;
    assert_eq!(over, ended(End::Partial));
    let failed = failed(&bench, &id).await;
    assert_eq!(failed.keys().collect::<Vec<_>>(), ["db"], "{failed:?}");
    assert!(failed["db"].contains("db-answers"), "{failed:?}");
    let b = bench.rig.nova(&zone_b());
    assert_eq!(b.serving(), ["db", "web-1", "web-2"], "the others went on");
    let left = hooks_failed(&bench).await.unwrap();
    assert_eq!(
        (left.plan, left.hooks[0].hook.as_str()),
        (id, "close-ticket")
    );
    assert!(left.hooks[0].why.contains("was killed"), "{:?}", left.hooks);
    all_gone(&hook);
    all_gone(&wait);
}

#[tokio::test(start_paused = true)]
async fn hard_case_59_a_hook_that_fails_with_rubbish_before_the_first_promotion_ends_the_plan() {
    for script in [
        format!("{RUBBISH}; exit 3"),
        // Of its order it reads nothing, and closes all that it has.
        "exec 0<&- 1>&- 2>&-; exit 3".to_owned(),
        "kill -SEGV $$".to_owned(),
    ] {
        let bench = bench(Kind::Move).await;
        bench
            .rig
            .told
            .command(AgentAction::Before, sh(&script, 10 * TIME));
        let (id, over) = run(&bench).await;
        assert_eq!(over, ended(End::Abandoned), "{script}");
        let mut whys = 0;
        for record in bench.records(&id).await {
            if let Event::StepFailed { error: why, .. } = &record.event {
                is_clean(why);
                assert!(
                    why.contains("exit code 3") || why.contains("was killed"),
                    "{why}"
                );
                whys += 1;
            }
        }
        assert_eq!(whys, 1, "{script}");
        nothing_was_touched(&bench).await;
    }
}

#[tokio::test(start_paused = true)]
async fn hard_case_59_a_hook_that_prints_rubbish_after_the_promotion_is_told_in_clean_words() {
    let bench = bench(Kind::FailoverByLease).await;
    let told = &bench.rig.told;
    // Rubbish alone is no failure.
    told.command(AgentAction::Before, sh(RUBBISH, 10 * TIME));
    told.command(AgentAction::Ready, sh(RUBBISH, 10 * TIME));
    let after = format!("{RUBBISH}; echo no ticket was open; exit 1");
    told.command(AgentAction::After, sh(&after, 10 * TIME));
    let (id, over) = run(&bench).await;
    assert_well(&bench, &id, over).await;
    let left = hooks_failed(&bench).await.unwrap();
    is_clean(&left.hooks[0].why);
    assert!(left.hooks[0].why.contains("exit code 1"), "{left:?}");
    for record in bench.records(&id).await {
        let text = serde_json::to_string(&record).unwrap();
        assert!(text.len() < 2 * TEXT, "{} bytes", text.len());
    }
}
