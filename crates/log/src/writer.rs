//! The thread that writes to one destination.
//!
//! The one design choice: each destination has a thread of its own, for any of them may stand
//! still (a pipe that nobody reads, a file server that is gone) and none may hold up the others.

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::limits::{CLOCK_CHECK, RETRY};
use crate::queue::{Next, Pause, Queue, count, lines};

/// Where lines go; used by its writing thread only, and may block.
pub(crate) trait Sink: Send {
    /// Writes some of these bytes, which begin where the last call left off; `now` is the time
    /// since 1970.
    fn write(&mut self, bytes: &[u8], now: Duration, queue: &Queue) -> io::Result<usize>;

    /// Opens the destination anew. After an error the old one stays in use.
    fn reopen(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// The time since 1970 at which [`Sink::due`] is to be called even if nothing is to be
    /// written.
    fn next_due(&self) -> Option<Duration> {
        None
    }

    /// That time has come.
    fn due(&mut self, now: Duration, queue: &Queue) {
        let _ = (now, queue);
    }

    /// Whether it may take lines again after an error.
    fn may_recover(&self) -> bool {
        true
    }
}

/// Starts the writing thread.
pub(crate) fn start(queue: &Arc<Queue>, sink: Box<dyn Sink>) -> io::Result<()> {
    let thread = std::thread::Builder::new().name("medusa-log".to_owned());
    let started = thread.spawn({
        let queue = queue.clone();
        move || Writer { queue: &queue, sink, failing: false }.run()
    });
    if started.is_err() {
        // Nobody may wait for it.
        queue.end();
    }
    started.map(drop)
}

struct Writer<'a> {
    queue: &'a Queue,
    sink: Box<dyn Sink>,
    /// The last write failed, and it was said.
    failing: bool,
}

fn unix_time() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

impl Writer<'_> {
    fn run(mut self) {
        loop {
            let due = self.sink.next_due();
            let within = due.map(|due| due.saturating_sub(unix_time()).min(CLOCK_CHECK));
            match self.queue.next(within) {
                Next::Write(buffer) => {
                    self.write(&buffer);
                    self.queue.give_back(buffer);
                }
                Next::Reopen => {
                    self.reopen();
                }
                Next::Due => {
                    let now = unix_time();
                    if due.is_some_and(|due| due <= now) {
                        self.sink.due(now, self.queue);
                    }
                }
                Next::End => break,
            }
        }
        self.queue.end();
    }

    fn write(&mut self, buffer: &[u8]) {
        let figures = &self.queue.figures;
        let mut done = 0;
        let mut closed = false;
        while done < buffer.len() {
            let error = match self.sink.write(&buffer[done..], unix_time(), self.queue) {
                Ok(n) => {
                    count(&figures.lines, lines(&buffer[done..done + n]));
                    count(&figures.bytes, n as u64);
                    done += n;
                    if std::mem::take(&mut self.failing) {
                        self.queue.tell("it takes lines again");
                    }
                    continue;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            count(&figures.errors, 1);
            let lasting = self.sink.may_recover();
            if !std::mem::replace(&mut self.failing, true) {
                let what = if lasting { "it is tried again until it does" } else { "it is lost" };
                self.queue.tell(&format!("it takes no lines: {error}; {what}"));
            }
            // At the end each buffer has one more chance.
            if !lasting || closed {
                return self.queue.leave_out(&buffer[done..]);
            }
            match self.queue.pause(RETRY) {
                Pause::Closed => closed = true,
                // A line that was begun in the old file is whole in the new one.
                Pause::Reopen if self.reopen() => {
                    done = memchr::memrchr(b'\n', &buffer[..done]).map_or(0, |end| end + 1);
                }
                Pause::Over | Pause::Reopen => {}
            }
        }
    }

    fn reopen(&mut self) -> bool {
        let result = self.sink.reopen();
        if let Err(e) = &result {
            self.queue.complain(&format!("it cannot be opened anew: {e}; the old one is kept"));
        }
        result.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;
    use std::sync::atomic::Ordering;

    use proptest::prelude::*;

    use super::*;

    /// Takes so many bytes in each write, or fails and is opened anew at once.
    struct Faulty {
        plan: VecDeque<Option<usize>>,
        files: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Sink for Faulty {
        fn write(&mut self, bytes: &[u8], _: Duration, queue: &Queue) -> io::Result<usize> {
            let mut files = self.files.lock().expect("no panic");
            let file = files.last_mut().expect("there is one");
            let Some(room) = self.plan.pop_front().unwrap_or(Some(usize::MAX)) else {
                queue.reopen();
                return Err(io::ErrorKind::StorageFull.into());
            };
            let n = bytes.len().min(room);
            file.extend_from_slice(&bytes[..n]);
            Ok(n)
        }

        fn reopen(&mut self) -> io::Result<()> {
            self.files.lock().expect("no panic").push(Vec::new());
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn no_line_is_lost_or_cut_when_a_destination_fails_and_is_opened_anew(
            lines in prop::collection::vec(0_usize..30, 1..20),
            plan in prop::collection::vec(prop::option::of(1_usize..40), 0..30),
        ) {
            let files = Arc::new(Mutex::new(vec![Vec::new()]));
            let queue = Arc::new(Queue::new("test".to_owned(), None));
            let lines: Vec<String> = lines.iter().enumerate()
                .map(|(n, len)| format!("{n} {}\n", "x".repeat(*len))).collect();
            for line in &lines {
                queue.hand_over(line.clone().into_bytes());
            }
            let faults = plan.iter().filter(|step| step.is_none()).count();
            let sink = Faulty { plan: plan.into(), files: files.clone() };
            queue.close();
            Writer { queue: &queue, sink: Box::new(sink), failing: false }.run();
            prop_assert!(queue.has_ended());
            let files = files.lock().expect("no panic");
            // What is cut at the end of a file is whole in the next one.
            let whole = files.iter().flat_map(|file| {
                let end = memchr::memrchr(b'\n', file).map_or(0, |end| end + 1);
                file[..end].iter().copied()
            });
            let whole = String::from_utf8(whole.collect()).expect("text");
            prop_assert_eq!(whole, lines.concat());
            prop_assert!(queue.figures.errors.load(Ordering::Relaxed) <= faults as u64);
        }
    }
}
