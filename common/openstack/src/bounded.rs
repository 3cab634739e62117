//! Many at once, and never more than so many: a cloud in trouble is not helped by five thousand calls in one moment.

use futures::{StreamExt, stream};
use std::num::NonZeroUsize;

/// Does it for each, at most `limit` at once, and gives what came of each in the order of the items. One that fails stops no other, and
/// one that takes long keeps no other from its turn.
pub async fn each<I, T, F>(
    limit: NonZeroUsize,
    items: impl IntoIterator<Item = I>,
    mut act: impl FnMut(I) -> F,
) -> Vec<T>
where
    F: Future<Output = T>,
{
    let numbered = items.into_iter().enumerate().map(|(n, item)| {
        let doing = act(item);
        async move { (n, doing.await) }
    });
    let mut done: Vec<(usize, T)> = stream::iter(numbered)
        .buffer_unordered(limit.get())
        .collect()
        .await;
    done.sort_by_key(|(n, _)| *n);
    done.into_iter().map(|(_, what)| what).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[tokio::test]
    async fn never_more_than_the_limit_and_the_first_waits_for_the_last() {
        let (now, most, ended) = (Cell::new(0_usize), Cell::new(0_usize), Cell::new(0_u32));
        let limit = NonZeroUsize::new(3).unwrap();
        let done = each(limit, 0..20_u32, async |n| {
            now.set(now.get() + 1);
            most.set(most.get().max(now.get()));
            tokio::task::yield_now().await;
            while n == 0 && ended.get() < 19 {
                tokio::task::yield_now().await;
            }
            now.set(now.get() - 1);
            ended.set(ended.get() + 1);
            if n == 7 { Err(n) } else { Ok(n) }
        })
        .await;
        assert_eq!((most.get(), now.get(), done.len()), (3, 0, 20));
        for (n, done) in (0..20).zip(done) {
            assert_eq!(done, if n == 7 { Err(7) } else { Ok(n) });
        }
    }
}
