//! The protocol between the monitor and its clients: lines of JSON. Pure: bytes in, messages out.
//!
//! Each line is an object with one key, which says what it is. Lines end in a line feed; a
//! carriage return before it is left out. A person can speak it with `nc -U`.
//!
//! ```text
//! server                                        client
//! {"hello":{"server":"medusa 0.1.0","version":1,"login":"scram-sha-256"}}
//!                                               {"login":{"data":"n,,n=ann,r=…"}}
//! {"challenge":{"data":"r=…,s=…,i=4096"}}
//!                                               {"proof":{"data":"c=biws,r=…,p=…"}}
//! {"welcome":{"operator":"ann","role":"all","session":"…","data":"v=…"}}
//!                                               {"run":{"id":1,"code":"1 + 1"}}
//! {"done":{"id":1,"values":[2],"ms":0}}
//!                                               {"run":{"id":2,"code":"print('a') x("}}
//! {"failed":{"id":2,"message":"…","incomplete":true}}
//! ```
//!
//! * On a Unix-domain socket `login` is `none`: the system says who the peer is, and `welcome`, or
//!   `refused`, follows `hello` at once.
//! * `refused` says why there is no session, and the connection ends behind it.
//! * Requests carry an id that the client chooses; each is answered by one `done`, `failed` or
//!   `completions` with that id, behind any number of `print`. One statement runs at a time; the
//!   other requests are answered meanwhile.
//! * `notice` comes unasked.
//! * A client takes no offence at fields and messages that it does not know; the server does, for
//!   they are misspelt.
//!
//! The one design choice: text, not frames of bytes. What a script returns becomes JSON once, on
//! the server, within limits; so `--json` is what was sent, and tables keep the order of their
//! columns.

mod lines;
mod message;
mod value;

pub use lines::{LineBuffer, LineTooLong};
pub use message::{
    BadMessage, Budget, Cancel, Challenge, Complete, Completions, Done, Failed, FromClient,
    FromServer, Hello, LoginData, LoginKind, More, Notice, NoticeKind, Print, Refused, Resume,
    Role, Run, Unit, Welcome,
};
pub use value::Value;

/// The version that `hello` names. It changes when an old client would misunderstand.
pub const VERSION: u32 = 1;

/// Bytes of a line that the server takes, its end not counted.
pub const CLIENT_LINE_BYTES: usize = 256 * 1024;

/// Bytes of a line that a client must take. The server sends none that is longer.
pub const SERVER_LINE_BYTES: usize = 1024 * 1024;

/// Bytes of what is printed in one line; JSON makes each at most six.
pub const PIECE_BYTES: usize = 64 * 1024;

/// Bytes of a line before the login: names and nonces.
pub const LOGIN_LINE_BYTES: usize = 4096;

/// Rows of a result that are sent in one line, unless the client asks for another number.
pub const ROWS: u32 = 50;

/// Rows that a client may ask for.
pub const MAX_ROWS: u32 = 1000;

/// Depth of the values that are sent; deeper ones are cut on the way, and none is read.
pub const VALUE_DEPTH: usize = 16;

#[cfg(test)]
mod tests;
