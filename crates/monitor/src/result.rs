//! Results of statements as they are sent: what the console's own code has made of them becomes
//! values of the protocol.

use std::collections::BTreeMap;
use std::time::Duration;

use medusa_script::Value;

use crate::session::{field, lossy};
use crate::wire::{self, Done, Failed, FromServer, Unit};

/// The answer to a request whose code has returned these values.
pub(crate) fn done(id: u64, values: &[Value], ran: Duration) -> FromServer {
    let ms = ran.as_millis() as u64;
    let result = values.first().unwrap_or(&Value::Nil);
    if let Value::Text(wrong) = field(result, "wrong") {
        let (line, message) = place(&lossy(wrong));
        let incomplete = field(result, "incomplete").is_true();
        return FromServer::Failed(Failed {
            id,
            message,
            line,
            incomplete,
            ms,
            ..Failed::default()
        });
    }
    let values = match shown(field(result, "values")) {
        wire::Value::List(values) => values,
        _ => Vec::new(),
    };
    FromServer::Done(Done {
        id,
        values,
        units: units(field(result, "units")),
        ms,
        more: field(result, "more").is_true(),
        cut: field(result, "cut").is_true(),
    })
}

/// Takes `statement:LINE: MESSAGE` apart.
fn place(text: &str) -> (u32, String) {
    let read = || {
        let (line, message) = text.strip_prefix("statement:")?.split_once(": ")?;
        Some((line.parse().ok()?, message.to_owned()))
    };
    read().unwrap_or_else(|| (0, text.to_owned()))
}

fn units(value: &Value) -> BTreeMap<String, Unit> {
    let Value::Map(map) = value else { return BTreeMap::new() };
    let unit = |value: &Value| match &value.as_text()?[..] {
        b"bytes" => Some(Unit::Bytes),
        b"seconds" => Some(Unit::Seconds),
        b"date" => Some(Unit::Date),
        _ => None,
    };
    map.iter().filter_map(|(name, value)| Some((lossy(name.as_text()?), unit(value)?))).collect()
}

/// A value as the console's own code writes it: a list begins with `l`, a map with `m`.
fn shown(value: &Value) -> wire::Value {
    match value {
        Value::Boolean(b) => wire::Value::Boolean(*b),
        Value::Integer(n) => wire::Value::Integer(*n),
        Value::Number(n) => wire::Value::Number(*n),
        Value::Text(text) => wire::Value::Text(lossy(text)),
        Value::List(list) => match list.split_first() {
            Some((Value::Text(kind), entries)) if &kind[..] == b"m" => {
                let pairs = entries.chunks_exact(2).map(|pair| {
                    let key = pair[0].as_text().map(lossy).unwrap_or_default();
                    (key, shown(&pair[1]))
                });
                wire::Value::Map(pairs.collect())
            }
            Some((_, entries)) => wire::Value::List(entries.iter().map(shown).collect()),
            None => wire::Value::List(Vec::new()),
        },
        Value::Nil | Value::Null | Value::Map(_) | Value::Function(_) => wire::Value::Null,
    }
}
