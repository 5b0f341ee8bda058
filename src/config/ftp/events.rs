//! What scripts hear of FTP: `events.on("ftp.login", ...)`.

use std::rc::Rc;

use medusa_core::Peer;
use medusa_ftp::events::Direction;
use medusa_ftp::{Event, Events};
use medusa_script::Value;
use medusa_scripted::Scripts;

/// Tells scripts what happens in sessions.
pub(super) struct ToScripts(pub(super) Rc<Scripts>);

/// A table of these.
fn table<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (Value::from(key), value)).collect())
}

fn address(peer: &Peer) -> Value {
    peer.ip().map_or_else(|| Value::from(peer.to_string()), |ip| Value::from(ip.to_string()))
}

impl Events for ToScripts {
    fn event(&self, event: &Event<'_>) {
        let who =
            |user: &str, peer: &Peer| table([("user", Value::from(user)), ("peer", address(peer))]);
        match event {
            Event::Login { user, peer } => self.0.emit("ftp.login", || who(user, peer)),
            Event::LoginFailed { name, peer } => {
                self.0.emit("ftp.login_failed", || who(name, peer));
            }
            Event::Logout { user, peer } => self.0.emit("ftp.logout", || who(user, peer)),
            Event::Transfer(transfer) => {
                let name = match transfer.direction {
                    Direction::Sent => "ftp.sent",
                    Direction::Received => "ftp.received",
                };
                self.0.emit(name, || {
                    table([
                        ("user", Value::from(transfer.user)),
                        ("peer", address(&transfer.peer)),
                        ("path", Value::from(transfer.path.as_bytes().to_vec())),
                        ("bytes", Value::from(transfer.bytes.cast_signed())),
                        ("seconds", Value::from(transfer.took.as_secs_f64())),
                        ("complete", Value::from(transfer.complete)),
                    ])
                });
            }
        }
    }
}
