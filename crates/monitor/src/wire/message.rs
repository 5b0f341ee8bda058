//! What is said, as types of both sides.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Value;

/// What a client says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FromClient {
    /// The client's first message of SCRAM (RFC 5802, section 7: `client-first-message`).
    Login(LoginData),
    /// Its last one (`client-final-message`).
    Proof(LoginData),
    /// Runs a statement.
    Run(Run),
    /// Ends the statement that runs.
    Cancel(Cancel),
    /// Asks for more rows of the last result.
    More(More),
    /// Asks how the word at a place could go on.
    Complete(Complete),
    /// Goes on with an earlier session, right after `welcome`.
    Resume(Resume),
}

/// A message of SCRAM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginData {
    /// The message as RFC 5802 writes it.
    pub data: String,
}

/// A statement: an expression, whose values are the result, or a chunk of Lua.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What the answers are known by; not 0.
    pub id: u64,
    /// The text in Lua.
    pub code: String,
    /// Rows of the result that are wanted at once, up to [`super::MAX_ROWS`]; [`super::ROWS`] if
    /// it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
}

/// Ends a statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cancel {
    /// What the answer is known by.
    pub id: u64,
    /// The id of the statement.
    pub run: u64,
}

/// Asks for what follows of a result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct More {
    /// What the answer is known by.
    pub id: u64,
    /// As in [`Run::rows`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<u32>,
}

/// Asks how a word could go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Complete {
    /// What the answer is known by.
    pub id: u64,
    /// The text that was typed.
    pub code: String,
    /// Where in it the cursor stands, in bytes.
    pub at: usize,
}

/// Goes on with an earlier session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// What the answer is known by: `done`, and `notice` when something of it is gone.
    pub id: u64,
    /// What the last `welcome` before this one called it.
    pub session: String,
    /// What the notice `moved` gave to keep, for a process that does not know the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// What the server says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FromServer {
    /// The first line.
    Hello(Hello),
    /// The server's first message of SCRAM (`server-first-message`).
    Challenge(Challenge),
    /// The session stands.
    Welcome(Welcome),
    /// There is no session; the connection ends.
    Refused(Refused),
    /// Something that a statement printed, or that it follows.
    Print(Print),
    /// A request has ended well.
    Done(Done),
    /// A request has failed.
    Failed(Failed),
    /// How a word could go on.
    Completions(Completions),
    /// Something that the operator should know, unasked.
    Notice(Notice),
}

/// Who answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The program and its version.
    pub server: String,
    /// The version of this protocol: [`super::VERSION`].
    pub version: u32,
    /// How one logs in.
    pub login: LoginKind,
}

/// How one logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoginKind {
    /// The system says who the peer is.
    #[serde(rename = "none")]
    None,
    /// By SCRAM-SHA-256 (RFC 7677), without channel binding.
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
}

/// The server's question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// The message as RFC 5802 writes it.
    pub data: String,
}

/// What an operator may do. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Look at everything.
    Look,
    /// Also carry out what changes nothing for good: close, pause, reload.
    Operate,
    /// Everything.
    All,
}

impl Role {
    /// All of them, the least first.
    pub const EACH: [Self; 3] = [Self::Look, Self::Operate, Self::All];
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Look => "look",
            Self::Operate => "operate",
            Self::All => "all",
        })
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::EACH.into_iter().find(|role| role.to_string() == text);
        found.ok_or_else(|| {
            format!("`{}` is no role: use look, operate or all", text.escape_debug())
        })
    }
}

/// The session stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// Who the client is.
    pub operator: String,
    /// What the client may do.
    pub role: Role,
    /// What the session can be resumed by; to be kept as secret as a password.
    pub session: String,
    /// The server's last message of SCRAM (`server-final-message`): its own proof. Not there
    /// without a login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
}

/// There is no session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Why, for people.
    pub why: String,
}

/// Something that was printed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Print {
    /// The request that it belongs to.
    pub id: u64,
    /// Whole lines, or pieces of [`super::PIECE_BYTES`]. May come from anybody: to be escaped
    /// before a terminal sees it.
    pub text: String,
}

/// A request has ended well.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// The request.
    pub id: u64,
    /// The results. In maps, the keys have the order in which people want them.
    #[serde(default)]
    pub values: Vec<Value>,
    /// What numbers under these keys are, anywhere in the results.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub units: BTreeMap<String, Unit>,
    /// Milliseconds that it ran.
    #[serde(default)]
    pub ms: u64,
    /// The first result is a list, or a map, that goes on: `more` gives what follows, as a
    /// value of the same kind.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Something within the results was left out, for they are too deep or too long.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cut: bool,
}

/// A request has failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// The request; 0 if it could not be told.
    pub id: u64,
    /// What went wrong and what to do, for people.
    pub message: String,
    /// The line of the statement, counted from 1; 0 if it is not known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub line: u32,
    /// The calls that led there, a line each.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub traceback: String,
    /// The budget that is used up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The statement could go on: its end is missing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub incomplete: bool,
    /// It was cancelled.
    #[serde(default, skip_serializing_if = "is_false")]
    pub cancelled: bool,
    /// Milliseconds that it ran.
    #[serde(default)]
    pub ms: u64,
}

/// What a statement may use up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Budget {
    /// Instructions.
    Instructions,
    /// Running time.
    Time,
    /// Time in all, waiting included.
    Deadline,
    /// Memory, or the length of a text.
    Memory,
    /// What it prints.
    Output,
    /// Time inside a function that cannot be interrupted.
    Uninterrupted,
}

/// What a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A number of bytes.
    Bytes,
    /// A span of time in seconds.
    Seconds,
    /// A point in time, in seconds since 1970.
    Date,
}

/// How a word could go on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completions {
    /// The request.
    pub id: u64,
    /// Where the word begins that the names replace, in bytes.
    pub from: usize,
    /// What could stand there, in order.
    pub names: Vec<String>,
}

/// Something that the operator should know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// What it is about.
    pub kind: NoticeKind,
    /// What has happened, for people.
    pub text: String,
    /// With `moved`: the variables of the session, to be given back by `resume`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<String>,
}

/// What a notice is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NoticeKind {
    /// A change was undone, for nobody confirmed it.
    Undone,
    /// Another process serves now: connect again, and resume the session. The connection ends.
    Moved,
    /// The server stops. The connection ends.
    Stopping,
    /// Anything else.
    #[serde(other)]
    Other,
}

/// A line that is no message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMessage(pub String);

impl fmt::Display for BadMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BadMessage {}

macro_rules! lines {
    ($of:ty) => {
        impl $of {
            /// Reads a line.
            pub fn read(line: &[u8]) -> Result<Self, BadMessage> {
                serde_json::from_slice(line).map_err(|e| BadMessage(format!("no message: {e}")))
            }

            /// Writes it as a line, with its end.
            pub fn write(&self, out: &mut Vec<u8>) {
                serde_json::to_writer(&mut *out, self).expect("a message can be written");
                out.push(b'\n');
            }
        }
    };
}

lines!(FromClient);
lines!(FromServer);

#[expect(clippy::trivially_copy_pass_by_ref)] // called by serde
fn is_false(value: &bool) -> bool {
    !value
}

#[expect(clippy::trivially_copy_pass_by_ref)] // called by serde
fn is_zero(value: &u32) -> bool {
    *value == 0
}
