//! Work for several threads.

use std::sync::{Mutex, PoisonError};

/// Does `work` to each of `items` on up to `threads` threads, of which the caller's is one. Results come in no order.
pub(super) fn in_parallel<T: Send, R: Send>(threads: usize, items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let others = threads.min(items.len()).saturating_sub(1);
    let queue = Mutex::new(items.into_iter());
    let run = || {
        let mut results = Vec::new();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            match next {
                Some(item) => results.push(work(item)),
                None => return results,
            }
        }
    };
    std::thread::scope(|scope| {
        let others: Vec<_> = (0..others).map(|_| scope.spawn(run)).collect();
        let mut results = run();
        for other in others {
            match other.join() {
                Ok(more) => results.extend(more),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        results
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_item_is_worked_on_once() {
        for threads in [0, 1, 3, 200] {
            let mut results = in_parallel(threads, (0..100).collect(), |item: u32| item * 2);
            results.sort_unstable();
            assert!(
                results.into_iter().eq((0..100).map(|item| item * 2)),
                "{threads} threads"
            );
        }
    }
}
