//! The runtime that everything runs on, and in which order it does what is ready.

use std::io;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

/// A thread of the runtime has room for 256 ready tasks; those that become ready after them, and
/// those that a thread of another kind wakes, wait in a queue of all threads. Every so many tasks
/// one comes from there. By itself the runtime takes one there about five thousand times a second
/// while a thread has tasks of its own, which it always has in a flood: whoever asked for `/livez`
/// waited until the flood paused.
const OVERFLOW_EVERY: u32 = 2;

/// Threads that hash passwords end soon when there is nothing to hash: with its end the
/// allocator gives a thread's memory back to the system.
const IDLE_THREADS_END: Duration = Duration::from_secs(3);

/// A runtime with so many threads that serve.
///
/// # Errors
/// When the system gives no threads or no sockets to wait on.
pub fn start(threads: usize) -> io::Result<Runtime> {
    Builder::new_multi_thread()
        .enable_all()
        .worker_threads(threads)
        .global_queue_interval(OVERFLOW_EVERY)
        .thread_keep_alive(IDLE_THREADS_END)
        .build()
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
    use std::task::Poll;

    use super::*;

    /// More than a thread has room for.
    const CROWD: usize = 1000;

    #[test]
    fn nobody_starves_beside_a_crowd_that_is_always_ready() {
        let longest = start(1).unwrap().block_on(async {
            let (turns, over) = (Arc::new(AtomicUsize::new(0)), Arc::default());
            let crowd = (0..CROWD).map(|_| tokio::spawn(always_ready(&turns, &over)));
            let crowd: Vec<_> = crowd.collect();
            let others = Arc::clone(&turns);
            let late = tokio::spawn(async move {
                // As many more as overflow at once.
                let began = others.load(Relaxed);
                let late = (0..CROWD).map(|_| {
                    let others = Arc::clone(&others);
                    tokio::spawn(async move { others.load(Relaxed) - began })
                });
                let late: Vec<_> = late.collect();
                let mut longest = 0;
                for task in late {
                    longest = longest.max(task.await.unwrap());
                }
                longest
            });
            let longest = late.await.unwrap();
            over.store(true, Relaxed);
            for task in crowd {
                task.await.unwrap();
            }
            longest
        });
        // Each of the others has had a few turns before the last one had its first.
        assert!(longest < 8 * CROWD, "{longest}");
    }

    fn always_ready(
        turns: &Arc<AtomicUsize>,
        over: &Arc<AtomicBool>,
    ) -> impl Future<Output = ()> + use<> {
        let (turns, over) = (Arc::clone(turns), Arc::clone(over));
        poll_fn(move |cx| {
            turns.fetch_add(1, Relaxed);
            if over.load(Relaxed) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
    }
}
