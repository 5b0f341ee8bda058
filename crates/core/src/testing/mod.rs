//! The harness: protocols joined to scripted peers in memory, under virtual time.
//!
//! A test owns a [`Harness`], which drives the same engine as the reactor does, turn by turn, but
//! has neither sockets nor threads nor a clock of its own. Connections are pipes in memory; at
//! the far end of each stands a [`Peer`], which sends, reads as fast as the test lets it, closes,
//! resets, and makes system calls fail. Time passes when the test says so.
//!
//! The one design choice: readiness is told as the system tells it, edge-triggered and no more
//! often than it must, so that a wake-up that gets lost on a socket is lost here too. Whatever
//! comes to rest here has nothing left to do; [`Harness::run`] panics when a loop would spin.
//!
//! # A first test
//!
//! A protocol that gives back each line in capitals, and the test of it:
//!
//! ```
//! use medusa_core::testing::{Harness, How};
//! use medusa_core::{Close, Context, Frame, Protocol, Terminator};
//!
//! struct Shout;
//!
//! impl Protocol for Shout {
//!     fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
//!         cx.set_terminator(Terminator::line(80));
//!         Ok(())
//!     }
//!
//!     fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
//!         match frame {
//!             Frame::End(line) => {
//!                 cx.send(&line.to_ascii_uppercase());
//!                 cx.send(b"!\r\n");
//!                 Ok(())
//!             }
//!             _ => Err(Close::Flush),
//!         }
//!     }
//! }
//!
//! let mut h = Harness::new();
//! let peer = h.open(Box::new(Shout));
//!
//! peer.send(b"hello\r\nthe");
//! h.run();
//! assert_eq!(peer.take_text(), "HELLO!\r\n");
//!
//! // The rest of the line comes byte by byte, and must make no difference.
//! peer.send_bytewise(b"re\r\n");
//! peer.close_write();
//! h.run();
//! assert_eq!(peer.take_text(), "THERE!\r\n");
//! assert_eq!(peer.closed(), Some(How::Fin));
//! ```
//!
//! # What else it does
//!
//! * Slow readers: [`Peer::set_write_room`] and [`Peer::grant`] say how many bytes leave.
//! * Time: [`Harness::advance`] fires what falls due on the way, in order.
//! * Helper jobs: they run by themselves, or, after [`Harness::hold_jobs`], when the test says so
//!   and in the order it likes.
//! * Outgoing connections wait in [`Harness::take_connect`] to be accepted or refused.
//! * Listeners and datagram sockets that protocols open are virtual: [`Harness::connect_to`],
//!   [`Harness::datagram`].
//! * A protocol that panics fails the test, unless [`Harness::allow_panics`] was called.
//! * [`Script`] is a protocol made of closures, with a log of what happened to it.
//! * [`same_for_every_split`] holds a whole conversation with its input split at every byte.

mod harness;
mod outside;
mod peer;
mod script;

pub use harness::{Harness, Outgoing, START_UNIX, Sent};
pub use peer::{How, Peer};
pub use script::{Log, Script};

/// Sends `input` to a new connection whole, byte by byte, and in two parts split at every byte,
/// and gives what was received; panics if that differs.
///
/// `begin` makes the harness and the connection, each time anew. The peer's side ends after the
/// input when `and_end` says so, and all timers that fall due within a minute fire.
pub fn same_for_every_split(
    input: &[u8],
    and_end: bool,
    begin: impl Fn() -> (Harness, Peer),
) -> Vec<u8> {
    let hold = |say: &dyn Fn(&Peer)| {
        let (mut h, peer) = begin();
        say(&peer);
        if and_end {
            peer.close_write();
        }
        h.run();
        h.advance(std::time::Duration::from_secs(60));
        peer.take()
    };
    let whole = hold(&|peer| peer.send(input));
    let told = |bytes: &[u8]| bytes.escape_ascii().to_string();
    let bytewise = hold(&|peer| peer.send_bytewise(input));
    assert_eq!(told(&bytewise), told(&whole), "byte by byte against whole");
    for at in 1..input.len() {
        let split = hold(&|peer| peer.send_split(input, &[at]));
        assert_eq!(told(&split), told(&whole), "split at byte {at} against whole");
    }
    whole
}
