//! Helper threads, for whatever can block: cold opens, listings, writes, password hashing.
//!
//! The one design choice: a job is a closure that gives a value, and what is to be done with the
//! value stays on the loop's thread, so neither needs a lock. Threads are started when there is
//! work and none is idle, up to [`POOL_THREADS`], and end with the pool.

use std::any::Any;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crate::handle::{JobLost, Then, Work};
use crate::limits::{POOL_QUEUE, POOL_THREADS};
use crate::remote::{Message, Remote};

/// The loop's end of the helper threads.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    remote: Remote,
    waiting: HashMap<u64, Then>,
    next: u64,
    threads: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<(u64, Work)>,
    idle: usize,
    closed: bool,
}

impl Pool {
    pub(crate) fn new(remote: Remote) -> Self {
        Self { shared: Arc::default(), remote, waiting: HashMap::new(), next: 0, threads: 0 }
    }

    /// Queues a job; `then` is called at once if the queue is full.
    pub(crate) fn submit(&mut self, work: Work, then: Then) {
        if self.waiting.len() >= POOL_QUEUE {
            return then(Err(JobLost::QueueFull));
        }
        self.next += 1;
        self.waiting.insert(self.next, then);
        let idle = {
            let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.jobs.push_back((self.next, work));
            state.idle >= state.jobs.len()
        };
        if !idle && self.threads < POOL_THREADS {
            let (shared, remote) = (self.shared.clone(), self.remote.clone());
            let spawned = std::thread::Builder::new()
                .name("medusa-helper".to_owned())
                .spawn(move || help(&shared, &remote));
            match spawned {
                Ok(_) => self.threads += 1,
                Err(e) => tracing::error!("cannot start a helper thread: {e}"),
            }
            if self.threads == 0 {
                // Nobody would ever come for it. It is dropped here, on the loop's thread.
                let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
                state.jobs.clear();
                drop(state);
                for (_, then) in std::mem::take(&mut self.waiting) {
                    then(Err(JobLost::QueueFull));
                }
                return;
            }
        }
        self.shared.work.notify_one();
    }

    /// Takes a result to whoever waits for it.
    pub(crate) fn done(&mut self, id: u64, result: Result<Box<dyn Any + Send>, JobLost>) {
        if let Some(then) = self.waiting.remove(&id) {
            then(result);
        }
    }

    /// Jobs that have not come back.
    pub(crate) fn busy(&self) -> usize {
        self.waiting.len()
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.shared.work.notify_all();
    }
}

/// What one helper thread does.
fn help(shared: &Shared, remote: &Remote) {
    loop {
        let (id, work) = {
            let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
            loop {
                if let Some(job) = state.jobs.pop_front() {
                    break job;
                }
                if state.closed {
                    return;
                }
                state.idle += 1;
                state = shared.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
            }
        };
        let result = catch_unwind(AssertUnwindSafe(work)).map_err(|_| JobLost::Panicked);
        remote.push(Message::Done(id, result));
    }
}
