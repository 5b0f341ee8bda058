//! The login, up to the server's welcome.

use std::fmt;
use std::io;

use medusa_auth::scram::{self, ScramError};
use medusa_monitor::wire::{FromClient, FromServer, Hello, LoginData, LoginKind, VERSION, Welcome};

use crate::limits::{CONNECT, LOGIN};
use crate::stream::Messages;
use crate::text;

/// Whom we say we are, and the proof of it.
#[derive(Clone)]
pub struct Credentials {
    /// The operator.
    pub name: String,
    /// The password; it never leaves this process.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Logs in, and has the server prove that it knows the password too. `ask` is called when a
/// password is wanted.
pub fn log_in(
    messages: &mut Messages,
    ask: &mut dyn FnMut() -> Result<Credentials, String>,
) -> Result<(Hello, Welcome), String> {
    let broken = |e: io::Error| format!("the connection broke during the login: {e}");
    // Whoever speaks first in another protocol is no monitor.
    messages.stream().set_read_timeout(Some(CONNECT)).map_err(broken)?;
    let FromServer::Hello(hello) = next(messages)? else { return Err(stranger()) };
    if hello.version != VERSION {
        return Err(format!(
            "{} speaks version {} of the monitor's protocol and this console version {VERSION}: use \
             the `medusa` that belongs to the server",
            text::line(&hello.server),
            hello.version
        ));
    }
    messages.stream().set_read_timeout(Some(LOGIN)).map_err(broken)?;
    let welcome = match hello.login {
        LoginKind::None => welcome(messages)?,
        LoginKind::ScramSha256 => prove(messages, &ask()?)?,
    };
    messages.stream().set_read_timeout(None).map_err(broken)?;
    Ok((hello, welcome))
}

/// SCRAM-SHA-256 (RFC 5802, section 3).
fn prove(messages: &mut Messages, credentials: &Credentials) -> Result<Welcome, String> {
    let failed = |e: ScramError| format!("the login has failed: {e}");
    let broken = |e: io::Error| format!("the connection broke during the login: {e}");
    let nonce = scram::nonce().map_err(|e| format!("the system gives no random bytes: {e}"))?;
    let (client, data) = scram::Client::new(&credentials.name, nonce);
    messages.stream().send(&FromClient::Login(LoginData { data })).map_err(broken)?;
    let FromServer::Challenge(challenge) = next(messages)? else { return Err(stranger()) };
    let (proof, data) = client.answer(&challenge.data, &credentials.password).map_err(failed)?;
    messages.stream().send(&FromClient::Proof(LoginData { data })).map_err(broken)?;
    let welcome = welcome(messages)?;
    proof
        .verify(welcome.data.as_deref().unwrap_or_default())
        .map_err(|_| failed(ScramError::Server))?;
    Ok(welcome)
}

fn welcome(messages: &mut Messages) -> Result<Welcome, String> {
    match next(messages)? {
        FromServer::Welcome(welcome) => Ok(welcome),
        _ => Err(stranger()),
    }
}

/// The next message; a refusal is an error.
fn next(messages: &mut Messages) -> Result<FromServer, String> {
    match messages.next_message() {
        Ok(Some(FromServer::Refused(refused))) => {
            Err(format!("the server refuses: {}", text::line(&refused.why)))
        }
        Ok(Some(message)) => Ok(message),
        Ok(None) => Err("the server closed the connection during the login".to_owned()),
        Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err("the server says nothing: is it a monitor?".to_owned())
        }
        Err(e) => Err(format!("the connection broke during the login: {e}")),
    }
}

fn stranger() -> String {
    "what answers there is no monitor, or one that this console does not understand".to_owned()
}
