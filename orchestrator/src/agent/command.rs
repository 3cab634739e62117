//! Running one command: JSON in, exit code out, bounded in time and output.

use super::{AgentError, AgentOrder};
use rustix::process::{Pid, Signal, kill_process_group};
use std::{
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    process::{Child, Command},
    task::JoinHandle,
    time::timeout,
};

/// Of each of its outputs, so much is kept for the log and the journal.
const MAX_OUTPUT: usize = 4096;
/// `EX_TEMPFAIL`.
const TRY_AGAIN: i32 = 75;
/// After a kill, for the system to report it.
const REAP_TIME: Duration = Duration::from_secs(2);

/// A configured command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandAgent {
    /// The program and its arguments; no shell is between.
    pub command: Vec<String>,
    /// Killed after that long.
    pub timeout: Duration,
}

/// Kills the command's process group when it is dropped: also where the step's own deadline or a lost lease ends the wait.
struct Group(Option<Pid>);

impl Group {
    fn kill(&mut self) {
        if let Some(pid) = self.0.take() {
            // It may have ended by itself meanwhile.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }
}
impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

impl CommandAgent {
    pub(super) async fn run(&self, order: &AgentOrder) -> Result<(), AgentError> {
        let name = self.command.first().map_or("", String::as_str);
        let failed = |what: String| AgentError::Failed(format!("{name}: {what}"));
        let input =
            serde_json::to_vec(order).map_err(|e| failed(format!("no order for it: {e}")))?;
        let (program, args) = self
            .command
            .split_first()
            .ok_or_else(|| failed("the command is empty".to_owned()))?;
        let mut child = Command::new(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // A group of its own, so that what it started ends with it.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|e| failed(format!("cannot be started: {e}")))?;
        let pid = child
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let mut group = Group(pid);
        match timeout(self.timeout, talk(&mut child, &input)).await {
            Ok(Ok((code, output))) => {
                // What it left in the background stays: it ended by itself, and that may be the application.
                group.0 = None;
                tracing::info!(command = name, action = ?order.action, code, output, "command ended");
                match code {
                    Some(0) => Ok(()),
                    Some(TRY_AGAIN) => Err(AgentError::NotNow(format!(
                        "{name}: asked to be tried again{}",
                        after_colon(&output)
                    ))),
                    Some(code) => Err(failed(format!("exit code {code}{}", after_colon(&output)))),
                    None => Err(failed(format!("was killed{}", after_colon(&output)))),
                }
            }
            Ok(Err(e)) => Err(failed(format!("cannot be talked to: {e}"))),
            Err(_) => {
                group.kill();
                let _ = timeout(REAP_TIME, child.wait()).await;
                Err(failed(format!(
                    "did not end within {:?} and was killed",
                    self.timeout
                )))
            }
        }
    }
}

/// Feeds it, reads it, waits for it.
async fn talk(child: &mut Child, input: &[u8]) -> std::io::Result<(Option<i32>, String)> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not read its input is its own affair.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((out, out_read), (err, err_read)) = (keep(stdout), keep(stderr));
    let talk = async { tokio::join!(feed, out_read, err_read) };
    // A grandchild may hold the pipes open after the command itself has ended: its end counts.
    tokio::pin!(talk);
    let status = tokio::select! {
        _ = &mut talk => child.wait().await?,
        status = child.wait() => {
            let status = status?;
            // What it has said by now is in the pipes.
            let _ = timeout(Duration::from_millis(200), &mut talk).await;
            status
        }
    };
    let text = [err, out]
        .iter()
        .map(|kept| clean(&kept.lock().unwrap_or_else(PoisonError::into_inner)))
        .filter(|o| !o.is_empty())
        .collect::<Vec<_>>()
        .join("; ");
    Ok((status.code(), text))
}

/// The first bytes of an output, as far as they have come.
type Kept = Arc<Mutex<Vec<u8>>>;

/// Reads to the end, keeps the first bytes. It goes on also once nobody waits for it: what the command left in the background would be killed
/// by its next line (`SIGPIPE`) if the pipe were closed. The task ends with the last of those that hold it.
fn keep(from: Option<impl AsyncRead + Unpin + Send + 'static>) -> (Kept, JoinHandle<()>) {
    let kept = Kept::default();
    let into = Arc::clone(&kept);
    let read = tokio::spawn(async move {
        let Some(mut from) = from else { return };
        let mut buffer = [0u8; 1024];
        while let Ok(n) = from.read(&mut buffer).await {
            if n == 0 {
                break;
            }
            let mut kept = into.lock().unwrap_or_else(PoisonError::into_inner);
            let room = MAX_OUTPUT.saturating_sub(kept.len()).min(n);
            kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
        }
    });
    (kept, read)
}

/// As people may read it on a terminal: what is no text and what is an order to the terminal is left out.
fn clean(output: &[u8]) -> String {
    let is_text = |c: &char| {
        *c == '\n' || *c == '\t' || !(c.is_control() || *c == char::REPLACEMENT_CHARACTER)
    };
    let text: String = String::from_utf8_lossy(output)
        .chars()
        .filter(is_text)
        .collect();
    text.trim().to_owned()
}

fn after_colon(output: &str) -> String {
    if output.is_empty() {
        String::new()
    } else {
        format!(": {output}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::AgentAction;
    use rekindle_common::{Generation, GroupName, PlanId, ZoneName};
    use std::time::Instant;

    fn order() -> AgentOrder {
        AgentOrder {
            action: AgentAction::Start,
            group: GroupName::new("db").unwrap(),
            zone: ZoneName::new("zone-b").unwrap(),
            generation: Generation(4),
            volumes: vec!["volumes/v1".parse().unwrap()],
            plan: PlanId::new("p1").unwrap(),
            runbook: None,
        }
    }
    fn sh(script: &str, timeout: Duration) -> CommandAgent {
        CommandAgent {
            command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
            timeout,
        }
    }
    const LONG: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn it_gets_its_order_as_json_and_its_exit_code_counts() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("order.json");
        sh(&format!("cat > {}", file.display()), LONG)
            .run(&order())
            .await
            .unwrap();
        let got: AgentOrder = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        assert_eq!(got, order());
        assert_eq!(
            sh("echo no disk >&2; exit 3", LONG).run(&order()).await,
            Err(AgentError::Failed(
                "/bin/sh: exit code 3: no disk".to_owned()
            ))
        );
        assert!(matches!(
            sh("exit 75", LONG).run(&order()).await,
            Err(AgentError::NotNow(_))
        ));
    }

    #[tokio::test]
    async fn at_its_timeout_it_is_killed_with_what_it_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("pid");
        let script = format!("sleep 600 & echo $! > {}; wait", file.display());
        let before = Instant::now();
        let e = sh(&script, Duration::from_millis(500))
            .run(&order())
            .await
            .unwrap_err();
        assert!(
            matches!(&e, AgentError::Failed(m) if m.contains("killed")),
            "{e}"
        );
        assert!(before.elapsed() < LONG);
        let pid: i32 = std::fs::read_to_string(&file)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        let gone = || match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
            Err(_) => true,
            // A zombie is dead; nobody may be there to reap it.
            Ok(stat) => stat.contains(") Z "),
        };
        while !gone() && before.elapsed() < LONG {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(gone(), "its child lives on");
    }

    #[tokio::test]
    async fn a_flood_of_output_is_cut_and_a_daemon_that_it_leaves_is_no_wait() {
        let before = Instant::now();
        let e = sh("yes | head -c 1000000; sleep 30 & exit 1", LONG)
            .run(&order())
            .await
            .unwrap_err();
        assert!(
            e.to_string().len() < 2 * MAX_OUTPUT,
            "{}",
            e.to_string().len()
        );
        assert!(before.elapsed() < LONG, "it waited for the daemon");
    }

    #[tokio::test]
    async fn what_it_leaves_in_the_background_may_go_on_printing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("printed");
        let script = format!(
            "(sleep 1; echo up && echo up >&2 && head -c 1000000 /dev/zero && echo > {}) & exit 0",
            file.display()
        );
        let before = Instant::now();
        sh(&script, LONG).run(&order()).await.unwrap();
        while !file.exists() && before.elapsed() < LONG {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(file.exists(), "it was killed by what it printed");
    }

    #[tokio::test]
    async fn its_reason_is_told_though_what_it_left_holds_its_outputs() {
        let e = sh("echo no disk >&2; echo half; sleep 30 & exit 1", LONG)
            .run(&order())
            .await;
        let why = "/bin/sh: exit code 1: no disk; half";
        assert_eq!(e, Err(AgentError::Failed(why.to_owned())));
    }

    #[tokio::test]
    async fn a_command_that_is_not_there_says_so() {
        let agent = CommandAgent {
            command: vec!["/nonexistent/agent".to_owned()],
            timeout: LONG,
        };
        let e = agent.run(&order()).await.unwrap_err();
        assert!(e.to_string().contains("cannot be started"), "{e}");
    }
}
