//! Chat: one room, in which everybody hears everybody.
//!
//! `cargo run --example chat -- 127.0.0.1:7008`, then `nc 127.0.0.1 7008` in several windows.
//! What you type is said; `/nick NAME`, `/me WAVES`, `/names` and `/quit` do what they say.
//!
//! All runs on one thread, so the room needs no locks. Each member has a feed: a bounded queue
//! between the room and his connection. A slow reader fills only his own; further lines are lost to
//! him, and he is told how many when there is room. The core closes one who reads no more at all.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::error::Error;
use std::rc::Rc;

use medusa_core::limits::{FEED_HIGH_BYTES, FEED_LOW_BYTES};
use medusa_core::producer::{Feed, Full, feed};
use medusa_core::{
    Address, Bytes, ChannelId, Close, Context, Ending, Frame, ListenOptions, Protocol, Reactor,
    Settings, Terminator, service,
};

/// Bytes of the longest line; the rest of a longer one is cut off.
const LINE: u32 = 400;
/// Characters of the longest name.
const NAME: usize = 20;

/// What all connections share.
#[derive(Default)]
struct Room {
    seats: BTreeMap<ChannelId, Seat>,
}

/// A member as the room knows him.
struct Seat {
    nick: String,
    feed: Feed,
    missed: u32,
}

impl Seat {
    fn tell(&mut self, line: impl Into<Bytes>) {
        // At the high mark a push is given back: this is what keeps a slow reader small.
        if let Err(Full::Full(_)) = self.feed.push(line) {
            self.missed += 1;
        }
    }
}

impl Room {
    fn tell(&mut self, id: ChannelId, line: String) {
        let Some(seat) = self.seats.get_mut(&id) else { return };
        seat.tell(line);
    }

    fn tell_all(&mut self, line: String) {
        let line = Bytes::from(line); // One copy, shared by all who hear it.
        self.seats.values_mut().for_each(|seat| seat.tell(line.clone()));
    }

    fn leave(&mut self, id: ChannelId) {
        let Some(Seat { nick, feed, .. }) = self.seats.remove(&id) else { return };
        feed.end();
        self.tell_all(format!("* {nick} leaves\n"));
    }

    /// Whether a member can take this name.
    fn is_free(&self, nick: &str) -> bool {
        (1..=NAME).contains(&nick.len())
            && nick.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !nick.starts_with("guest")
            && self.seats.values().all(|seat| !seat.nick.eq_ignore_ascii_case(nick))
    }
}

/// One connection.
struct Member {
    room: Rc<RefCell<Room>>,
    id: ChannelId,
}

impl Protocol for Member {
    fn opened(&mut self, cx: &mut Context<'_>) -> Result<(), Close> {
        self.id = cx.id();
        cx.set_terminator(Terminator::Delimiter { delimiter: b"\n", limit: LINE });
        // We push into the feed; its other side stands in the output queue of the connection.
        let (feed, output) = feed(FEED_HIGH_BYTES, FEED_LOW_BYTES);
        feed.set_pusher(cx.waker());
        cx.produce(Box::new(output));
        let mut room = self.room.borrow_mut();
        let nick = format!("guest{}", cx.id().as_u64() as u32); // Unique while it lasts.
        room.seats.insert(self.id, Seat { nick: nick.clone(), feed, missed: 0 });
        room.tell_all(format!("* {nick} joins\n"));
        Ok(())
    }

    fn input(&mut self, frame: Frame<'_>, _: &mut Context<'_>) -> Result<(), Close> {
        let (mut room, id) = (self.room.borrow_mut(), self.id);
        let nick = room.seats[&id].nick.clone();
        let line = match frame {
            Frame::End(line) | Frame::Overlong(line) => String::from_utf8_lossy(line),
            _ => "/quit".into(),
        };
        // Nobody shall move the cursor in somebody else's window.
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        match line.trim().split_once(' ').unwrap_or((line.trim(), "")) {
            ("", _) => {}
            ("/me", does) => room.tell_all(format!("* {nick} {does}\n")),
            ("/names", _) => {
                let names: Vec<_> = room.seats.values().map(|s| s.nick.clone()).collect();
                room.tell(id, format!("* here: {}\n", names.join(", ")));
            }
            ("/nick", new) if room.is_free(new) => {
                room.seats.get_mut(&id).expect("it is there").nick = new.into();
                room.tell_all(format!("* {nick} is now {new}\n"));
            }
            ("/nick", new) => room.tell(id, format!("* {new} is taken, or no name\n")),
            ("/quit", _) => {
                room.leave(id);
                return Err(Close::Flush);
            }
            (word, _) if word.starts_with('/') => room.tell(id, format!("* {word}: what?\n")),
            _ => room.tell_all(format!("<{nick}> {}\n", line.trim())),
        }
        Ok(())
    }

    /// Called when a feed that had been full has come down to its low mark.
    fn resumed(&mut self, _: &mut Context<'_>) -> Result<(), Close> {
        let mut room = self.room.borrow_mut();
        if let Some(seat) = room.seats.get_mut(&self.id).filter(|seat| seat.missed > 0) {
            let missed = std::mem::take(&mut seat.missed);
            seat.tell(format!("* you missed {missed} lines\n"));
        }
        Ok(())
    }

    fn closed(&mut self, _: &Ending) {
        self.room.borrow_mut().leave(self.id);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address: Address = std::env::args().nth(1).unwrap_or("127.0.0.1:7008".into()).parse()?;
    let room = Rc::<RefCell<Room>>::default();
    let chat = service("chat", move |_, _| Member { room: room.clone(), id: ChannelId::default() });
    let mut reactor = Reactor::new(Settings::default())?;
    let (_, bound) = reactor.listen(&address, chat, ListenOptions::default())?;
    println!("listening chat {bound}\nready");
    Ok(reactor.run()?)
}
