//! What one connection is held to: its own bandwidth, and its share of those of others.
//!
//! The one design choice: bytes are claimed before they move. What the socket did not take is
//! given back; where there is nothing to claim, the lane says when there will be, and the engine
//! keeps a timer for that. So what is held back costs nothing while it waits.

use std::rc::Rc;

use crate::bandwidth::{Bandwidth, Way};
use crate::limits::{BANDWIDTHS_A_CONNECTION, MIN_PACE_BYTES};
use crate::rate::{Bucket, Rate};
use crate::server_limits::Place;

/// The limits of a connection that has any.
pub(crate) struct Limited {
    /// Counts until the connection has gone.
    _place: Option<Place>,
    shared: Vec<Rc<Bandwidth>>,
    output: Lane,
    input: Lane,
}

/// One direction.
#[derive(Default)]
struct Lane {
    own: Bucket,
    /// Bytes of the shared bandwidths that were claimed and not used.
    claimed: u64,
    /// Bytes that moved after the last claim: what is claimed next is not much more.
    used: u64,
    /// The tick before which nothing moves; 0 while it does.
    due: u64,
}

impl Limited {
    pub(crate) fn new(place: Option<Place>) -> Self {
        let shared = place.iter().map(|place| place.bandwidth().clone()).collect();
        Self { _place: place, shared, output: Lane::default(), input: Lane::default() }
    }

    /// Holds the connection to one more bandwidth.
    ///
    /// # Panics
    /// When it would be held to more than [`BANDWIDTHS_A_CONNECTION`].
    pub(crate) fn share(&mut self, bandwidth: Rc<Bandwidth>) {
        assert!(self.shared.len() < BANDWIDTHS_A_CONNECTION, "a connection has so many bandwidths");
        // The new one does not know of what was claimed of the others.
        self.give_up_claims();
        self.shared.push(bandwidth);
    }

    fn lane(&mut self, way: Way) -> (&mut Lane, &[Rc<Bandwidth>]) {
        let lane = match way {
            Way::Out => &mut self.output,
            Way::In => &mut self.input,
        };
        (lane, &self.shared)
    }

    /// Claims up to `most` bytes; 0 says that there are none before [`Limited::due`].
    pub(crate) fn claim(&mut self, way: Way, own: Option<&Rate>, most: usize, now: u64) -> usize {
        let (lane, shared) = self.lane(way);
        if lane.due > now {
            return 0;
        }
        lane.due = 0;
        let mut most = most as u64;
        if let Some(rate) = own {
            let available = lane.own.available(rate, now);
            if available < rate.pace().min(most) {
                let wait = lane.own.take(rate, rate.pace().min(most), now).err();
                lane.due = now + wait.unwrap_or(1).max(1);
                return 0;
            }
            most = most.min(available);
        }
        if lane.claimed == 0 {
            let share = MIN_PACE_BYTES.max(lane.used.saturating_mul(2));
            let (n, due) = claim_of_all(shared, way, most, share, now);
            lane.claimed = n;
            if due > now {
                lane.due = due;
                return 0;
            }
        }
        most.min(lane.claimed) as usize
    }

    /// Notes how much of what was claimed has moved.
    pub(crate) fn used(&mut self, way: Way, own: Option<&Rate>, n: usize, now: u64) {
        let (lane, shared) = self.lane(way);
        let n = n as u64;
        if let Some(rate) = own {
            lane.own.reserve(rate, n, now);
        }
        lane.used = n;
        let rest = std::mem::take(&mut lane.claimed).saturating_sub(n);
        give_back(shared, way, rest);
    }

    /// The tick before which nothing moves in this direction; 0 while it does.
    pub(crate) fn held_until(&self, way: Way) -> u64 {
        match way {
            Way::Out => self.output.due,
            Way::In => self.input.due,
        }
    }

    /// The next tick at which something may move again; 0 while nothing is held back.
    pub(crate) fn due(&self) -> u64 {
        match (self.output.due, self.input.due) {
            (0, other) | (other, 0) => other,
            (a, b) => a.min(b),
        }
    }

    /// Gives back what was claimed and then not wanted.
    pub(crate) fn settle(&mut self) {
        for way in [Way::Out, Way::In] {
            let (lane, shared) = self.lane(way);
            if lane.due == 0 {
                give_back(shared, way, std::mem::take(&mut lane.claimed));
            }
        }
    }

    /// Lets go of what is due.
    pub(crate) fn release(&mut self, now: u64) {
        for lane in [&mut self.output, &mut self.input] {
            if lane.due <= now {
                lane.due = 0;
            }
        }
    }

    /// Gives back all that was claimed, also what is not due yet.
    fn give_up_claims(&mut self) {
        for way in [Way::Out, Way::In] {
            let (lane, shared) = self.lane(way);
            let claimed = std::mem::take(&mut lane.claimed);
            if claimed > 0 {
                lane.due = 0;
            }
            give_back(shared, way, claimed);
        }
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        self.give_up_claims();
    }
}

/// Claims of all what each of them can give; it may be used when it is due of all.
fn claim_of_all(shared: &[Rc<Bandwidth>], way: Way, most: u64, share: u64, now: u64) -> (u64, u64) {
    let (mut n, mut due) = (most, now);
    for (at, bandwidth) in shared.iter().enumerate() {
        let (given, due_here) = bandwidth.claim(way, n, share, now);
        give_back(&shared[..at], way, n - given);
        n = given;
        due = due.max(due_here);
    }
    (n, due)
}

fn give_back(shared: &[Rc<Bandwidth>], way: Way, n: u64) {
    if n > 0 {
        for bandwidth in shared {
            bandwidth.give_back(way, n);
        }
    }
}
