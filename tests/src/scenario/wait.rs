//! Waiting for a condition, with a deadline, and with what was seen last where it did not come.

use std::time::{Duration, Instant};

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(200);

/// A look: what was waited for, or in words what is there instead.
pub type Look<T> = Result<T, String>;

/// Looks again and again until it is there.
///
/// # Errors
/// After `within`: names what was waited for, and what was seen last.
pub async fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Look<T>,
) -> anyhow::Result<T> {
    let begun = Instant::now();
    loop {
        match look().await {
            Ok(found) => {
                tracing::info!(seconds = begun.elapsed().as_secs_f32(), "{what}");
                return Ok(found);
            }
            Err(seen) if begun.elapsed() >= within => {
                anyhow::bail!("waited {within:?} for {what}; seen last: {seen}");
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Looks for the whole time, and fails as soon as something forbidden is seen: for "nothing happens".
///
/// # Errors
/// What was seen.
pub async fn never(
    what: &str,
    during: Duration,
    mut look: impl AsyncFnMut() -> Option<String>,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < during {
        if let Some(seen) = look().await {
            anyhow::bail!("{what} happened after {:?}: {seen}", begun.elapsed());
        }
        tokio::time::sleep(PAUSE).await;
    }
    tracing::info!(seconds = during.as_secs_f32(), "no {what}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_condition_that_never_comes_is_told_with_what_was_seen() {
        let mut n = 0;
        let e = until::<()>("rain", Duration::ZERO, async || {
            n += 1;
            Err(format!("cloud {n}"))
        })
        .await
        .unwrap_err();
        assert_eq!(e.to_string(), "waited 0ns for rain; seen last: cloud 1");
        assert_eq!(
            until("rain", Duration::ZERO, async || Ok(3)).await.unwrap(),
            3
        );
    }

    #[tokio::test]
    async fn what_must_not_happen_ends_the_wait_at_once() {
        let long = Duration::from_secs(60);
        assert!(
            never("rain", long, async || Some("drops".into()))
                .await
                .is_err()
        );
        never("rain", Duration::from_millis(1), async || None)
            .await
            .unwrap();
    }
}
