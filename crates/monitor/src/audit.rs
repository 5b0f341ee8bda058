//! The audit trail: a line for each statement.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use crate::limits::AUDITED_BYTES;
use crate::wire::Role;

/// Takes what operators did.
pub trait Audit {
    /// A statement has ended.
    fn statement(&self, entry: &Entry<'_>);
}

/// A statement that has ended.
#[derive(Clone, Debug, Serialize)]
pub struct Entry<'a> {
    /// Who typed it.
    pub operator: &'a str,
    /// What the operator may do.
    pub role: Role,
    /// From where: an address, or `unix`.
    pub from: &'a str,
    /// The number of the session.
    pub session: u64,
    /// The statement, as far as it is short.
    pub statement: &'a str,
    /// Actions that it carried out, the first ones.
    pub actions: &'a [String],
    /// Time of the server that it took.
    #[serde(rename = "ms", serialize_with = "as_ms")]
    pub ran: Duration,
    /// Time from its begin to its end.
    #[serde(rename = "took_ms", serialize_with = "as_ms")]
    pub took: Duration,
    /// Bytes that it printed.
    pub output: usize,
    /// `done`, or why not.
    pub outcome: &'a str,
}

fn as_ms<S: serde::Serializer>(time: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(time.as_millis() as u64)
}

impl Entry<'_> {
    /// Appends it as an object of JSON, without the end of a line. `time` is the time of day as
    /// people read it.
    pub fn write_json(&self, time: &str, out: &mut Vec<u8>) {
        #[derive(Serialize)]
        struct Timed<'a> {
            time: &'a str,
            #[serde(flatten)]
            entry: &'a Entry<'a>,
        }
        serde_json::to_writer(out, &Timed { time, entry: self }).expect("a line can be written");
    }

    /// It as a line for people; what operators typed is escaped.
    pub fn line(&self) -> String {
        let mut line = format!(
            "session {} of {} ({}) from {}: {:?}",
            self.session, self.operator, self.role, self.from, self.statement
        );
        let more = match self.actions {
            [] => Ok(()),
            actions => write!(line, " did {:?}", actions.join(", ")),
        };
        let end = write!(
            line,
            ", {} ms of {} ms, {} B printed: {}",
            self.ran.as_millis(),
            self.took.as_millis(),
            self.output,
            self.outcome.escape_debug()
        );
        more.and(end).expect("a text takes everything");
        line
    }
}

/// As much of a statement as the trail shows.
pub(crate) fn shown(statement: &str) -> String {
    if statement.len() <= AUDITED_BYTES {
        return statement.to_owned();
    }
    let end = (0..=AUDITED_BYTES).rev().find(|at| statement.is_char_boundary(*at)).unwrap_or(0);
    format!("{}… ({} bytes)", &statement[..end], statement.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_shows_what_was_typed_and_nothing_breaks_out_of_it() {
        let actions = ["channels/4.1 close".to_owned()];
        let entry = Entry {
            operator: "ann",
            role: Role::Operate,
            from: "127.0.0.1:9",
            session: 3,
            statement: "close('4.1')\n\u{1b}[2J",
            actions: &actions,
            ran: Duration::from_millis(2),
            took: Duration::from_millis(30),
            output: 7,
            outcome: "done",
        };
        assert_eq!(
            entry.line(),
            "session 3 of ann (operate) from 127.0.0.1:9: \"close('4.1')\\n\\u{1b}[2J\" did \
             \"channels/4.1 close\", 2 ms of 30 ms, 7 B printed: done"
        );
        let mut json = Vec::new();
        entry.write_json("now", &mut json);
        let json = String::from_utf8(json).expect("text");
        assert_eq!(
            json,
            "{\"time\":\"now\",\"operator\":\"ann\",\"role\":\"operate\",\"from\":\"127.0.0.1:9\",\
             \"session\":3,\"statement\":\"close('4.1')\\n\\u001b[2J\",\
             \"actions\":[\"channels/4.1 close\"],\"ms\":2,\"took_ms\":30,\"output\":7,\
             \"outcome\":\"done\"}"
        );
    }

    #[test]
    fn a_long_statement_is_cut_where_a_character_ends() {
        let long = "é".repeat(AUDITED_BYTES);
        let cut = shown(&long);
        assert!(cut.len() < AUDITED_BYTES + 30 && cut.ends_with("(8192 bytes)"), "{}", cut.len());
        assert_eq!(shown("short"), "short");
    }
}
