//! The leader's daily check: whose turn it is, what is kept of it, and what a change of leader makes of that.

use super::*;
use futures::{FutureExt, future::BoxFuture};
use rekindle_common::GroupName;
use rekindle_core::daily::Daily;
use rekindle_orchestrator::{
    metrics::Metrics,
    preflight::{
        Gap, GapKind, KeptPreflight, Preflight,
        daily::{Check, DailyPart, DailyPreflight},
    },
};
use std::sync::Mutex;

/// What is found, and how often it was asked.
#[derive(Debug, Default)]
struct FakeCheck {
    gaps: Mutex<Vec<Gap>>,
    asked: Mutex<u32>,
    hangs: Mutex<bool>,
}

impl Check for FakeCheck {
    fn check<'a>(&'a self, _: &'a GroupName) -> BoxFuture<'a, Result<Preflight, String>> {
        async move {
            *self.asked.lock().unwrap() += 1;
            let hangs = *self.hangs.lock().unwrap();
            if hangs {
                std::future::pending::<()>().await;
            }
            Ok(Preflight {
                gaps: self.gaps.lock().unwrap().clone(),
                ..Preflight::default()
            })
        }
        .boxed()
    }
}

struct Day {
    play: Play,
    check: Arc<FakeCheck>,
    metrics: Arc<Metrics>,
    daily: DailyPreflight,
}

impl Day {
    async fn new() -> Self {
        let play = Play::new().await;
        let (check, metrics) = (Arc::new(FakeCheck::default()), Arc::new(Metrics::default()));
        let daily = made(&play, &check, &metrics);
        Self {
            play,
            check,
            metrics,
            daily,
        }
    }
    async fn round(&self) {
        self.daily.round(&self.play.hand.lead).await.unwrap();
    }
    fn asked(&self) -> u32 {
        *self.check.asked.lock().unwrap()
    }
    fn shown(&self) -> KeptPreflight {
        self.daily.shown().unwrap()[&group()].clone()
    }
    async fn kept(&self) -> Option<KeptPreflight> {
        let kv = self.play.store.get(&keys::preflight(&group())).await;
        kv.unwrap().map(|kv| kv.json().unwrap())
    }
}

fn made(play: &Play, check: &Arc<FakeCheck>, metrics: &Arc<Metrics>) -> DailyPreflight {
    let part = DailyPart {
        check: check.clone(),
        daily: Daily {
            hour: 3,
            spread: Span::secs(3600),
            again: Span::secs(3600),
        },
        every: Duration::from_secs(60),
        within: Duration::from_secs(900),
    };
    DailyPreflight::new(part, play.clock, Arc::clone(metrics))
}

fn gap() -> Gap {
    Gap {
        kind: GapKind::Flavor,
        zone: Some(zone_b()),
        what: "s1.small is not there".to_owned(),
        advice: "make it".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_kept_shown_and_counted_and_what_was_mended_shows_within_the_hour() {
    let day = Day::new().await;
    day.check.gaps.lock().unwrap().push(gap());
    day.round().await;
    assert_eq!(day.shown().gaps, [gap()]);
    assert_eq!(day.kept().await, Some(day.shown()));
    let text = day.metrics.text();
    assert!(text.contains("preflight_gaps{group=\"db\"} 1"), "{text}");
    // Not at each look.
    day.round().await;
    assert_eq!(day.asked(), 1);
    // Another leader knows it, and does not do it all again.
    let other = made(&day.play, &day.check, &Arc::default());
    other.round(&day.play.hand.lead).await.unwrap();
    assert_eq!(
        (day.asked(), &other.shown().unwrap()[&group()]),
        (1, &day.shown())
    );

    day.check.gaps.lock().unwrap().clear();
    tokio::time::sleep(Duration::from_secs(3601)).await;
    day.round().await;
    assert_eq!(day.asked(), 2);
    assert!(day.shown().is_well(), "{:?}", day.shown());
    let text = day.metrics.text();
    assert!(text.contains("preflight_gaps{group=\"db\"} 0"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_ends_and_says_so_and_a_plan_is_not_disturbed() {
    let day = Day::new().await;
    day.play
        .put(keys::group_active_plan(&group()), &"p-1")
        .await;
    day.round().await;
    assert_eq!((day.asked(), day.kept().await), (0, None));
    day.play.delete(keys::group_active_plan(&group())).await;
    *day.check.hangs.lock().unwrap() = true;
    day.round().await;
    let shown = day.shown();
    assert!(shown.failed.unwrap().contains("did not end within"));
    assert_eq!(shown.gaps, []);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_is_gone_or_has_no_servers_is_shown_no_more() {
    let day = Day::new().await;
    day.round().await;
    day.play.runbook(Runbook::default()).await;
    day.round().await;
    assert!(day.daily.shown().unwrap().is_empty());
    assert!(!day.metrics.text().contains("preflight_gaps{"));
    // A leader that has lost its lead writes nothing.
    day.play.runbook(runbook(StandbyPolicy::Shutoff)).await;
    day.play.hand.cancel.cancel();
    eventually("the lead is lost", || async {
        day.play.hand.lead.check().err().map(|_| ())
    })
    .await;
    let end = day.daily.round(&day.play.hand.lead).await;
    assert!(matches!(end, Err(LeadError::Lost)), "{end:?}");
}
