//! What one connection is held to: its own bandwidth and its share of the server's.
//!
//! The one design choice: bytes are claimed before they move. What the socket did not take is
//! given back; where there is nothing to claim, the lane says when there will be, and the engine
//! keeps a timer for that. So what is held back costs nothing while it waits.

use crate::limits::MIN_PACE_BYTES;
use crate::rate::{Bucket, Rate};
use crate::server_limits::{Place, Way};

/// The limits of a connection that has any.
pub(crate) struct Limited {
    place: Option<Place>,
    output: Lane,
    input: Lane,
}

/// One direction.
#[derive(Default)]
struct Lane {
    own: Bucket,
    /// Bytes of the server's bandwidth that were claimed and not used.
    claimed: u64,
    /// Bytes that moved after the last claim: what is claimed next is not much more.
    used: u64,
    /// The tick before which nothing moves; 0 while it does.
    due: u64,
}

impl Limited {
    pub(crate) fn new(place: Option<Place>) -> Self {
        Self { place, output: Lane::default(), input: Lane::default() }
    }

    fn lane(&mut self, way: Way) -> (&mut Lane, Option<&Place>) {
        let lane = match way {
            Way::Out => &mut self.output,
            Way::In => &mut self.input,
        };
        (lane, self.place.as_ref())
    }

    /// Claims up to `most` bytes; 0 says that there are none before [`Limited::due`].
    pub(crate) fn claim(&mut self, way: Way, own: Option<&Rate>, most: usize, now: u64) -> usize {
        let (lane, place) = self.lane(way);
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
            lane.claimed = most;
            if let Some(place) = place {
                let share = MIN_PACE_BYTES.max(lane.used.saturating_mul(2));
                let (n, due) = place.claim(way, most, share, now);
                lane.claimed = n;
                if due > now {
                    lane.due = due;
                    return 0;
                }
            }
        }
        most.min(lane.claimed) as usize
    }

    /// Notes how much of what was claimed has moved.
    pub(crate) fn used(&mut self, way: Way, own: Option<&Rate>, n: usize, now: u64) {
        let (lane, place) = self.lane(way);
        let n = n as u64;
        if let Some(rate) = own {
            lane.own.reserve(rate, n, now);
        }
        lane.used = n;
        let rest = std::mem::take(&mut lane.claimed).saturating_sub(n);
        if let (Some(place), 1..) = (place, rest) {
            place.give_back(way, rest);
        }
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
            let (lane, Some(place)) = self.lane(way) else { return };
            if lane.due == 0 && lane.claimed > 0 {
                place.give_back(way, std::mem::take(&mut lane.claimed));
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
}

impl Drop for Limited {
    fn drop(&mut self) {
        let Some(place) = &self.place else { return };
        for (way, lane) in [(Way::Out, &self.output), (Way::In, &self.input)] {
            if lane.claimed > 0 {
                place.give_back(way, lane.claimed);
            }
        }
    }
}
