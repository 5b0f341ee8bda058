//! Tests of the core on the harness, one file for each part; `faults` holds the regressions.

mod channels;
mod collectors;
mod faults;
mod inspect;
mod limits;
mod producers;
mod sequences;
mod terminators;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::Write;
use std::rc::Rc;
use std::sync::Arc;

use crate::producer::FileRange;
use crate::terminator::Terminator;
use crate::testing::{Harness, Log, Peer, Script};

/// A connection whose protocol notes the frames that this terminator cuts.
fn framed(make: impl Fn() -> Terminator + 'static) -> (Harness, Peer, Log) {
    let script = Script::new().opened(move |cx| {
        cx.set_terminator(make());
        Ok(())
    });
    let log = script.log();
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    (h, peer, log)
}

/// The log of a conversation in which `input` comes in the way that `say` chooses.
fn frames_of(make: impl Fn() -> Terminator + 'static, say: impl FnOnce(&Peer)) -> Vec<String> {
    let (mut h, peer, log) = framed(make);
    say(&peer);
    h.run();
    merge_parts(log.take())
}

/// Puts neighbouring parts together: where they are divided is up to how input came.
fn merge_parts(lines: Vec<String>) -> Vec<String> {
    let mut merged: Vec<String> = Vec::new();
    for line in lines {
        let open = merged.last().is_some_and(|last| last.starts_with("part "));
        match (line.split_once(' '), merged.last_mut()) {
            (Some((kind @ ("part" | "end"), text)), Some(last)) if open => {
                let before = last.strip_prefix("part ").unwrap_or_default();
                *last = format!("{kind} {before}{text}");
            }
            _ => merged.push(line),
        }
    }
    merged
}

/// An open file with this content that has no name.
fn file_with(content: &[u8]) -> Arc<std::fs::File> {
    let mut file = tempfile::tempfile().expect("a temporary file can be made");
    file.write_all(content).expect("a temporary file takes what a test writes");
    Arc::new(file)
}

/// All of an open file with this content.
fn range_with(content: &[u8]) -> FileRange {
    FileRange { file: file_with(content), offset: 0, len: content.len() as u64 }
}

/// A protocol that keeps what a test puts into it, to be done one by one when it is woken.
#[derive(Clone, Default)]
struct Deeds(Rc<RefCell<VecDeque<Deed>>>);

type Deed = Box<dyn FnOnce(&mut crate::Context<'_>) -> Result<(), crate::Close>>;

impl Deeds {
    fn add(
        &self,
        deed: impl FnOnce(&mut crate::Context<'_>) -> Result<(), crate::Close> + 'static,
    ) {
        self.0.borrow_mut().push_back(Box::new(deed));
    }

    /// A script that does the next deed each time it is woken.
    fn script(&self) -> Script {
        let deeds = self.clone();
        Script::new().resumed(move |cx| {
            let next = deeds.0.borrow_mut().pop_front();
            next.map_or(Ok(()), |deed| deed(cx))
        })
    }
}

/// Opens a connection, and does something with its context at once.
fn open_doing(
    deed: impl FnOnce(&mut crate::Context<'_>) -> Result<(), crate::Close> + 'static,
) -> (Harness, Peer, Log) {
    let mut deed = Some(deed);
    let script = Script::new().opened(move |cx| deed.take().map_or(Ok(()), |deed| deed(cx)));
    let log = script.log();
    let mut h = Harness::new();
    let peer = h.open(script.boxed());
    (h, peer, log)
}

/// Like [`open_doing`], on a connection that takes `room` bytes and is then full.
fn slow_doing(
    room: usize,
    deed: impl FnOnce(&mut crate::Context<'_>) -> Result<(), crate::Close> + 'static,
) -> (Harness, Peer, Log) {
    let (deeds, mut h) = (Deeds::default(), Harness::new());
    deeds.add(deed);
    let script = deeds.script();
    let log = script.log();
    let peer = h.open(script.boxed());
    peer.set_write_room(room);
    h.handle().wake(peer.id());
    h.run();
    (h, peer, log)
}
