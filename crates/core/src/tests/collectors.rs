//! Collectors: limits, and the file collector under held jobs, in every outcome.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use crate::collector::{Collector, Discarded, FileCollector, Flow, Gathered, Refused, Sink};
use crate::handle::{Handle, JobLost, Waker};
use crate::limits::COLLECTOR_BUFFER_BYTES;
use crate::testing::{Harness, Script};

/// What has become of a [`Memory`] sink.
#[derive(Default)]
struct Fate {
    bytes: Vec<u8>,
    finished: bool,
    dropped: bool,
}

/// A sink in memory that fails after so many bytes.
struct Memory {
    fate: Arc<Mutex<Fate>>,
    space: usize,
}

impl Memory {
    fn fate(&self) -> std::sync::MutexGuard<'_, Fate> {
        self.fate.lock().expect("no test panics while it looks")
    }
}

impl Sink for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.fate().bytes.len() + bytes.len() > self.space {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.fate().bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.fate().finished = true;
        Ok(())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        self.fate().dropped = true;
    }
}

struct Upload {
    h: Harness,
    fate: Arc<Mutex<Fate>>,
    collector: Box<dyn Collector>,
    heard: Rc<RefCell<Vec<Result<u64, Refused>>>>,
    woken: Rc<RefCell<u32>>,
}

fn upload(space: usize) -> Upload {
    upload_to(
        |sink, handle, waker, then| FileCollector::new(Box::new(sink), handle, waker, then),
        space,
    )
}

/// An upload whose sink is opened on a helper thread, or fails to be.
fn upload_opening(space: usize, fault: Option<io::ErrorKind>) -> Upload {
    let open = move |sink, handle: &Handle, waker, then| {
        let open = move || match fault {
            Some(kind) => Err(kind.into()),
            None => Ok(Box::new(sink) as Box<dyn Sink>),
        };
        FileCollector::opening(open, handle, waker, then)
    };
    upload_to(open, space)
}

type Hear = Box<dyn FnOnce(Result<u64, Refused>)>;

fn upload_to(
    make: impl FnOnce(Memory, &Handle, Waker, Hear) -> FileCollector<Hear>,
    space: usize,
) -> Upload {
    let mut h = Harness::new();
    h.hold_jobs();
    let (woken, keep) = (Rc::new(RefCell::new(0)), Rc::new(RefCell::new(None::<Waker>)));
    let (count, waker) = (woken.clone(), keep.clone());
    let script = Script::new()
        .opened(move |cx| {
            *waker.borrow_mut() = Some(cx.waker());
            Ok(())
        })
        .resumed(move |_| {
            *count.borrow_mut() += 1;
            Ok(())
        });
    h.open(script.boxed());
    let fate = Arc::<Mutex<Fate>>::default();
    let heard: Rc<RefCell<Vec<_>>> = Rc::default();
    let note = heard.clone();
    let sink = Memory { fate: fate.clone(), space };
    let waker = keep.borrow().clone().expect("the connection is open");
    let collector = make(sink, &h.handle(), waker, Box::new(move |r| note.borrow_mut().push(r)));
    Upload { h, fate, collector: Box::new(collector), heard, woken }
}

impl Upload {
    fn written(&self) -> usize {
        self.fate.lock().expect("sound").bytes.len()
    }

    fn run_jobs(&mut self) {
        self.h.run();
        while self.h.jobs() > 0 {
            self.h.run_jobs();
            self.h.run();
        }
    }
}

#[test]
fn gathering_has_a_limit() {
    let kept = Rc::new(RefCell::new(Vec::new()));
    let heard = kept.clone();
    let mut gathered = Box::new(Gathered::new(5, move |bytes| *heard.borrow_mut() = bytes));
    assert_eq!(gathered.collect(b"abc"), Ok(Flow::Go));
    assert_eq!(gathered.collect(b"def"), Err(Refused::TooLarge));
    assert_eq!(gathered.collect(b"de"), Ok(Flow::Go));
    gathered.end();
    assert_eq!(*kept.borrow(), b"abcde");
    let mut discarded = Box::new(Discarded);
    assert_eq!(discarded.collect(b"abc"), Ok(Flow::Go));
    discarded.end();
}

#[test]
fn a_file_collector_has_at_most_two_buffers_on_their_way() {
    let mut up = upload(usize::MAX);
    let part = vec![b'x'; COLLECTOR_BUFFER_BYTES / 4];
    let mut taken = 0;
    while up.collector.collect(&part) == Ok(Flow::Go) {
        taken += 1;
        up.h.run();
    }
    taken += 1;
    assert_eq!((taken, up.h.jobs()), (8, 1), "one buffer is being written, one is full");
    assert_eq!(up.collector.flow(), Ok(Flow::Stop));
    up.h.run_job(0);
    up.h.run();
    assert_eq!((up.collector.flow(), *up.woken.borrow()), (Ok(Flow::Go), 1));
    assert_eq!((up.written(), up.h.jobs()), (COLLECTOR_BUFFER_BYTES, 1));
    assert_eq!(up.collector.collect(b"tail"), Ok(Flow::Go));
    let Upload { mut h, collector, heard, fate, .. } = up;
    collector.end();
    for _ in 0..3 {
        assert_eq!(heard.borrow().len(), 0);
        h.run();
        assert_eq!(h.jobs(), 1, "one at a time: the sink is never in two places");
        h.run_job(0);
        h.run();
    }
    let whole = 2 * COLLECTOR_BUFFER_BYTES as u64 + 4;
    assert_eq!(*heard.borrow(), [Ok(whole)]);
    let fate = fate.lock().expect("sound");
    assert!(fate.finished && fate.bytes.len() as u64 == whole && fate.bytes.ends_with(b"xtail"));
}

#[test]
fn an_empty_upload_is_finished_too() {
    let mut up = upload(10);
    up.collector.end();
    up.collector = Box::new(Discarded);
    up.run_jobs();
    assert_eq!(*up.heard.borrow(), [Ok(0)]);
    assert!(up.fate.lock().expect("sound").finished);
}

#[test]
fn a_full_disk_is_told_at_the_next_part_and_at_the_end() {
    let mut up = upload(COLLECTOR_BUFFER_BYTES - 1);
    let part = vec![b'x'; COLLECTOR_BUFFER_BYTES];
    assert_eq!(up.collector.collect(&part), Ok(Flow::Go));
    up.run_jobs();
    assert_eq!(*up.woken.borrow(), 1);
    assert_eq!(up.collector.flow(), Err(Refused::NoSpace));
    assert_eq!(up.collector.collect(b"x"), Err(Refused::NoSpace));
    assert!(up.fate.lock().expect("sound").dropped, "what was written does not remain");
    up.collector.end();
    assert_eq!(*up.heard.borrow(), [], "not from inside the call");
    up.h.run();
    assert_eq!(*up.heard.borrow(), [Err(Refused::NoSpace)]);
}

#[test]
fn a_failure_after_the_end_is_told() {
    let mut up = upload(3);
    assert_eq!(up.collector.collect(b"four"), Ok(Flow::Go));
    up.collector.end();
    up.collector = Box::new(Discarded);
    up.run_jobs();
    assert_eq!(*up.heard.borrow(), [Err(Refused::NoSpace)]);
    let fate = up.fate.lock().expect("sound");
    assert!(fate.dropped && !fate.finished);
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing_and_tells_nobody() {
    for writing in [false, true] {
        let mut up = upload(usize::MAX);
        let bytes = if writing { COLLECTOR_BUFFER_BYTES } else { 10 };
        assert_eq!(up.collector.collect(&vec![b'x'; bytes]), Ok(Flow::Go));
        up.h.run();
        assert_eq!(up.h.jobs(), usize::from(writing));
        up.collector = Box::new(Discarded);
        up.run_jobs();
        assert_eq!(*up.heard.borrow(), []);
        let fate = up.fate.lock().expect("sound");
        assert!(fate.dropped && !fate.finished);
    }
}

#[test]
fn no_input_is_wanted_before_the_sink_is_open() {
    let mut up = upload_opening(usize::MAX, None);
    assert_eq!(up.collector.flow(), Ok(Flow::Stop));
    assert_eq!(up.collector.collect(b"early"), Ok(Flow::Stop));
    up.run_jobs();
    assert_eq!((up.collector.flow(), *up.woken.borrow()), (Ok(Flow::Go), 1));
    assert_eq!(up.collector.collect(b" late"), Ok(Flow::Go));
    up.collector.end();
    up.collector = Box::new(Discarded);
    up.run_jobs();
    assert_eq!(*up.heard.borrow(), [Ok(10)]);
    assert_eq!(up.fate.lock().expect("sound").bytes, b"early late");
}

#[test]
fn a_whole_upload_may_come_before_the_sink_is_open() {
    let mut up = upload_opening(usize::MAX, None);
    assert_eq!(up.collector.collect(b"all"), Ok(Flow::Stop));
    up.collector.end();
    up.collector = Box::new(Discarded);
    up.run_jobs();
    assert_eq!(*up.heard.borrow(), [Ok(3)]);
    assert!(up.fate.lock().expect("sound").finished);
}

#[test]
fn a_sink_that_cannot_be_opened_is_told_as_soon_as_it_is_known() {
    let mut up = upload_opening(usize::MAX, Some(io::ErrorKind::StorageFull));
    assert_eq!(up.collector.collect(b"early"), Ok(Flow::Stop));
    up.run_jobs();
    assert_eq!(*up.woken.borrow(), 1);
    assert_eq!(up.collector.flow(), Err(Refused::NoSpace));
    up.collector.end();
    up.h.run();
    assert_eq!(*up.heard.borrow(), [Err(Refused::NoSpace)]);
}

#[test]
fn a_sink_that_is_opened_for_nobody_goes_away() {
    let mut up = upload_opening(usize::MAX, None);
    up.h.run();
    up.collector = Box::new(Discarded);
    up.run_jobs();
    assert_eq!(*up.heard.borrow(), []);
    let fate = up.fate.lock().expect("sound");
    assert!(fate.dropped && !fate.finished);
}

#[test]
fn a_lost_job_fails_the_upload() {
    let mut up = upload(usize::MAX);
    assert_eq!(up.collector.collect(&vec![b'x'; COLLECTOR_BUFFER_BYTES]), Ok(Flow::Go));
    up.h.run();
    up.h.lose_job(0, JobLost::QueueFull);
    up.h.run();
    assert!(matches!(up.collector.flow(), Err(Refused::Failed(_))));
    assert!(up.fate.lock().expect("sound").dropped);
    up.collector.end();
    up.collector = Box::new(Discarded);
    up.h.run();
    assert!(matches!(up.heard.borrow()[..], [Err(Refused::Failed(_))]));
}

#[test]
fn errors_of_the_system_are_told_apart() {
    assert_eq!(Refused::from(io::Error::from(io::ErrorKind::QuotaExceeded)), Refused::OverQuota);
    assert_eq!(Refused::from(io::Error::from(io::ErrorKind::FileTooLarge)), Refused::TooLarge);
    assert!(matches!(Refused::from(io::Error::other("x")), Refused::Failed(_)));
}
