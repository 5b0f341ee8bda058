//! SCRAM-SHA-256 (RFC 5802, RFC 7677): both sides prove that they know the password, and it never
//! crosses the wire. Pure: messages in, messages out; nonces come from outside.
//!
//! ```text
//! client                            server
//! Client::new ── client-first ────► ClientFirst::read, its name looked up
//! Client::answer ◄─ server-first ── ClientFirst::challenge
//!             ── client-final ────► Challenge::verify
//! Proof::verify ◄─ server-final ───
//! ```
//!
//! The one design choice: what the server keeps ([`Record`]) verifies a client and cannot pass for
//! one. Channel binding is not offered: a client that says that the server could have (`y`) is
//! believed that it cannot (`n`).

mod client;
mod record;
mod server;

pub use client::{Client, Proof};
pub use record::{BadRecord, ITERATIONS, Record};
pub use server::{Challenge, ClientFirst};

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a nonce before it is written as text.
pub const NONCE_BYTES: usize = 18;

/// Bytes of the longest message that is taken.
pub const MAX_MESSAGE: usize = 2048;

/// Iterations that a client accepts: fewer would give the password away to whoever listens, more
/// would hold it up.
pub const ACCEPTED_ITERATIONS: std::ops::RangeInclusive<u32> = 4096..=5_000_000;

/// Bytes of a key.
const KEY_BYTES: usize = 32;

type Key = [u8; KEY_BYTES];

/// Why a login fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramError {
    /// A message is not as RFC 5802 says.
    Malformed,
    /// The client asks for what is not offered: channel binding, another identity, an extension.
    Unsupported,
    /// The nonce is not the one of this exchange.
    Nonce,
    /// The proof is wrong: not the password, or no such user.
    Wrong,
    /// The server asks for too few or too many iterations.
    Iterations,
    /// The server does not know the password: it is another server, or somebody in between.
    Server,
}

impl fmt::Display for ScramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the login is malformed",
            Self::Unsupported => {
                "the login asks for something that is not offered (channel binding, or the \
                 identity of another)"
            }
            Self::Nonce => "the login belongs to another exchange",
            Self::Wrong => "wrong name or password",
            Self::Iterations => "the server asks for too few iterations, or too many",
            Self::Server => {
                "the server does not know the password: it is another server, or somebody is in \
                 between"
            }
        })
    }
}

impl std::error::Error for ScramError {}

/// Makes a nonce: text without commas, never the same again.
pub fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

/// The form in which a password is hashed (RFC 4013). One that has none is hashed as it is, as
/// other servers do.
fn prepared(password: &str) -> std::borrow::Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(password.into())
}

fn keyed(key: &[u8], text: &[u8]) -> Key {
    let mut hash = Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length");
    hash.update(text);
    hash.finalize().into_bytes().into()
}

fn xor(a: &Key, b: &Key) -> Key {
    std::array::from_fn(|at| a[at] ^ b[at])
}

/// The value of the next attribute, which must be this one.
fn attribute<'a>(
    name: &str,
    from: &mut impl Iterator<Item = &'a str>,
) -> Result<&'a str, ScramError> {
    from.next()
        .and_then(|part| part.strip_prefix(name)?.strip_prefix('='))
        .ok_or(ScramError::Malformed)
}

/// Whether this can be a nonce: printable ASCII without commas.
fn is_nonce(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b',')
}

#[cfg(test)]
mod tests;
