//! A bound on what many replies hold together.
//!
//! The one design choice: whoever takes a share may give it back on any thread, so that it can
//! travel with what it pays for, to a helper thread and back.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use medusa_core::{Aborted, Piece, Producer, Pull};

/// What may be held at once: bytes, or a number of things.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    held: Arc<AtomicUsize>,
    room: usize,
}

/// A part of a budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<AtomicUsize>,
    amount: usize,
}

impl Budget {
    /// Allows so much in all; one share alone may be larger.
    pub(crate) fn new(room: usize) -> Self {
        Self { held: Arc::default(), room }
    }

    /// Takes a share, if there is room for it.
    pub(crate) fn take(&self, amount: usize) -> Option<Share> {
        let fits = |held: usize| {
            let all = held.checked_add(amount)?;
            (held == 0 || all <= self.room).then_some(all)
        };
        self.held.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits).ok()?;
        Some(Share { held: self.held.clone(), amount })
    }
}

impl Share {
    /// Cuts a part off, which is then given back by itself.
    pub(crate) fn split(&mut self, amount: usize) -> Self {
        let amount = amount.min(self.amount);
        self.amount -= amount;
        Self { held: self.held.clone(), amount }
    }

    /// Gives back all but `amount`; never takes more.
    pub(crate) fn shrink(&mut self, amount: usize) {
        let back = self.amount.saturating_sub(amount);
        self.held.fetch_sub(back, Ordering::Relaxed);
        self.amount -= back;
    }
}

/// A producer, with what is held for it until it is dropped.
pub(crate) struct Paid<P> {
    inside: P,
    _share: Share,
}

impl<P> Paid<P> {
    pub(crate) fn new(inside: P, share: Share) -> Self {
        Self { inside, _share: share }
    }
}

impl<P: Producer> Producer for Paid<P> {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        self.inside.produce(room, pull)
    }

    fn remaining(&self) -> Option<u64> {
        self.inside.remaining()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.held.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_bounded_and_come_back() {
        let budget = Budget::new(10);
        let alone = budget.take(50);
        assert!(alone.is_some(), "one alone may be larger");
        assert!(budget.take(1).is_none());
        drop(alone);
        let mut first = budget.take(6).expect("there is room");
        assert!(budget.take(5).is_none());
        first.shrink(5);
        first.shrink(7);
        let second = budget.take(5);
        assert!(second.is_some() && budget.take(1).is_none());
        drop(second);
        let part = first.split(3);
        assert!(budget.take(6).is_none());
        drop(part);
        let most = budget.take(8);
        assert!(most.is_some() && budget.take(1).is_none());
        drop(most);
        assert!(budget.take(9).is_none() && budget.take(usize::MAX).is_none());
    }
}
