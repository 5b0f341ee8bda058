//! An extension whose requests are handled by a function of a script.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt::Write as _;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use medusa_core::{Aborted, Handle};
use medusa_fs::VirtualPath;
use medusa_http::wire::fields::FieldTable;
use medusa_http::wire::head::Head;
use medusa_http::{Body, Exchange, Extension, Files, Handled, Reply, Request};
use medusa_script::library::text;
use medusa_script::{Begun, Library, Outcome, Value};

use crate::files::path_of;
use crate::script::{Script, Version, explained};
use crate::talk::{RequestBody, Talk, Talks};

/// Fields that a script may put into one reply.
pub const REPLY_FIELDS: usize = 100;

/// Bytes of an address, at most: eight groups of four digits.
const ADDRESS_BYTES: usize = 39;

/// The functions of the host behind a request's methods.
pub(crate) fn library(talks: &Rc<Talks>) -> Library {
    let (read, begin) = (talks.clone(), talks.clone());
    let (write, finish) = (talks.clone(), talks.clone());
    Library::new("http")
        .function("field", |args| {
            let (head, name) = (text(args, 0)?, text(args, 1)?);
            let name = std::str::from_utf8(name).unwrap_or_default();
            let mut table = FieldTable::new();
            let head = Head::parse(head, &mut table)
                .map_err(|_| "this is not the head of a request".to_owned())?;
            Ok(vec![head.field(name).map_or(Value::Nil, |value| Value::from(value.to_vec()))])
        })
        .later("read", move |args, later| match read.find(args) {
            Ok(talk) => talk.borrow_mut().read(later),
            Err(why) => later.answer(Err(why)),
        })
        .later("begin", move |args, later| {
            let head = begin.find(args).and_then(|talk| {
                let none = Value::Nil;
                Ok((talk, head(args.get(1).unwrap_or(&none), args.get(2))?))
            });
            match head {
                Ok((talk, head)) => {
                    talk.borrow_mut().head(head, later);
                    Talk::send_head(&talk);
                }
                Err(why) => later.answer(Err(why)),
            }
        })
        .later("write", move |args, later| {
            match write.find(args).and_then(|talk| Ok((talk, text(args, 1)?.clone()))) {
                Ok((talk, piece)) => talk.borrow_mut().write(piece, later),
                Err(why) => later.answer(Err(why)),
            }
        })
        .function("finish", move |args| {
            finish.find(args)?.borrow_mut().finish(Ok(()));
            Ok(Vec::new())
        })
}

/// Makes the head of a reply of what a script says.
fn head(status: &Value, fields: Option<&Value>) -> Result<Reply, String> {
    let status = status.as_integer().filter(|status| (200..600).contains(status));
    let status =
        status.ok_or("the status must be a number from 200 to 599").map(|status| status as u16)?;
    let mut reply = Reply::new(status);
    let mut typed = false;
    for (name, value) in self::fields(fields)? {
        typed |= name.eq_ignore_ascii_case("content-type");
        reply.add_field(&name, value);
    }
    if !typed && !matches!(status, 204 | 304) {
        reply.add_field("Content-Type", "text/plain; charset=utf-8");
    }
    Ok(reply)
}

/// A field: its name and its value.
type Named<'v> = (String, Cow<'v, [u8]>);

/// The fields that a script says.
fn fields(fields: Option<&Value>) -> Result<Vec<Named<'_>>, String> {
    let fields = match fields {
        None | Some(Value::Nil) => &[][..],
        Some(Value::Map(fields)) => fields,
        Some(Value::List(list)) if list.is_empty() => &[],
        Some(other) => {
            return Err(format!("the fields must be a table of names, not a {}", other.kind()));
        }
    };
    if fields.len() > REPLY_FIELDS {
        return Err(format!("the reply has more than {REPLY_FIELDS} fields"));
    }
    let mut all = Vec::new();
    for (name, value) in fields {
        let name = name.as_text().map(|name| String::from_utf8_lossy(name).into_owned());
        let name = name.ok_or("the name of a field must be a string")?;
        let values =
            if let Value::List(values) = value { &values[..] } else { std::slice::from_ref(value) };
        for value in values {
            all.push((name.clone(), shown(value)?));
        }
    }
    Ok(all)
}

/// An address, as scripts see it.
fn address(ip: IpAddr) -> Value {
    let mut text = String::with_capacity(ADDRESS_BYTES);
    _ = write!(text, "{ip}");
    Value::from(text)
}

/// A field's value, or a body.
fn shown(value: &Value) -> Result<Cow<'_, [u8]>, String> {
    Ok(match value {
        Value::Text(text) => Cow::Borrowed(&text[..]),
        Value::Integer(n) => Cow::Owned(n.to_string().into_bytes()),
        Value::Number(n) => Cow::Owned(n.to_string().into_bytes()),
        other => return Err(format!("a string is wanted, not a {}", other.kind())),
    })
}

/// What a script answers.
enum Answer {
    Reply(Reply),
    /// A file of a tree, with more fields.
    File(Rc<Files>, VirtualPath, Vec<(String, Vec<u8>)>),
}

impl Answer {
    /// Gives the reply to `then`, perhaps at once. `raw` is the head of the request.
    fn make(self, raw: &[u8], now: Duration, handle: &Handle, then: impl FnOnce(Reply) + 'static) {
        match self {
            Self::Reply(reply) => then(reply),
            Self::File(files, path, fields) => {
                files.reply_with(&path, raw, now, handle, move |mut reply| {
                    if reply.status() < 400 {
                        for (name, _) in &fields {
                            reply.remove_field(name);
                        }
                        for (name, value) in &fields {
                            reply.add_field(name, value);
                        }
                    }
                    then(reply);
                });
            }
        }
    }
}

/// The answer that names a file in a table of the script's.
fn file_answer(
    version: &Version,
    values: &[Value],
    about: &[(Value, Value)],
) -> Result<Answer, String> {
    let none = Value::Nil;
    let named = |name: &str| {
        let found = about.iter().find(|(key, _)| key.as_text().is_some_and(|key| *key == name));
        found.map_or(&none, |(_, value)| value)
    };
    let file = named("file").as_text().ok_or("a body that is a table names a `file`")?;
    let path = path_of(file)?;
    if values.first().and_then(Value::as_integer) != Some(200) {
        return Err("a file is an answer with status 200".to_owned());
    }
    let fields = fields(values.get(2))?;
    let fields = fields.into_iter().map(|(name, value)| (name, value.into_owned())).collect();
    Ok(Answer::File(version.sender(named("tree"))?, path, fields))
}

/// The answer that a script's results say: a status, a body, fields.
fn answer(version: &Version, values: &[Value]) -> Result<Answer, String> {
    match values.get(1) {
        Some(Value::Map(about)) => file_answer(version, values, about),
        _ => reply(values).map(Answer::Reply),
    }
}

fn reply(values: &[Value]) -> Result<Reply, String> {
    let none = Value::Nil;
    let reply = head(values.first().unwrap_or(&none), values.get(2))?;
    let body = match values.get(1) {
        None | Some(Value::Nil) => return Ok(reply),
        Some(Value::Text(text)) => text.clone(),
        Some(other) => Bytes::from(shown(other)?.into_owned()),
    };
    if body.is_empty() { Ok(reply) } else { Ok(reply.body(Body::Bytes(body))) }
}

/// An extension in Lua: the function that a script returned handles requests.
pub struct ScriptExtension {
    script: Rc<Script>,
}

impl ScriptExtension {
    /// Makes an extension of a script that returns a handler. It lets all requests pass until the
    /// script is loaded, and goes by its newest version; requests that have begun end with the one
    /// that they began with.
    pub fn new(script: &Rc<Script>) -> Rc<Self> {
        Rc::new(Self { script: script.clone() })
    }
}

/// What one request comes to, when the script has ended.
fn ended(version: &Version, outcome: &Outcome, talk: &RefCell<Talk>) -> Option<Answer> {
    version.printed(&outcome.output);
    let (begun, gone) = (talk.borrow().has_begun(), talk.borrow().is_gone());
    let why = match &outcome.result {
        Ok(_) if begun => {
            talk.borrow_mut().finish(Ok(()));
            talk.borrow_mut().ended();
            return None;
        }
        Ok(values) => match answer(version, values) {
            Ok(answer) => {
                talk.borrow_mut().ended();
                return Some(answer);
            }
            Err(why) => why,
        },
        Err(error) => explained(error),
    };
    if gone {
        tracing::debug!("script `{}` ended without its client: {why}", version.name());
    } else {
        version.failed(&why);
    }
    talk.borrow_mut().ended();
    if begun {
        talk.borrow_mut().finish(Err(Aborted::new("the script failed")));
        return None;
    }
    Some(Answer::Reply(failed()))
}

fn failed() -> Reply {
    Reply::text(500, "the script failed to answer")
}

impl Extension for ScriptExtension {
    fn name(&self) -> &str {
        self.script.name()
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        self.script.version().is_some()
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let Some(version) = self.script.version() else { return Handled::Pass };
        let Some(handler) = version.function() else { return Handled::Pass };
        let inner = &self.script.host().0;
        let (token, talk) = inner.talks.begin(request.has_body());
        let target = request.head.target;
        let text = |bytes: &[u8]| Value::Text(Bytes::copy_from_slice(bytes));
        let arguments = [
            Value::Function(handler),
            Value::Integer(token),
            Value::Text(Bytes::from_static(request.head.method.as_str().as_bytes())),
            text(&target.path().decoded()),
            target.query().map_or(Value::Nil, text),
            text(request.raw),
            request.peer.ip().map_or(Value::Nil, address),
        ];
        let running = match version.begin(&inner.serve, &arguments) {
            Begun::Ended(outcome) => {
                inner.talks.end(token);
                return match ended(&version, &outcome, &talk) {
                    Some(Answer::Reply(reply)) => Handled::Now(reply),
                    Some(file) => {
                        let responder = exchange.later();
                        let (now, handle) = (request.unix_time, request.handle);
                        file.make(request.raw, now, handle, |reply| responder.reply(reply));
                        Handled::Later
                    }
                    None => Handled::Now(failed()),
                };
            }
            Begun::Running(running) => running,
        };
        talk.borrow_mut().responder = Some(exchange.later());
        talk.borrow_mut().waker = Some(exchange.waker());
        if request.has_body() {
            exchange.collect(RequestBody(talk.clone()));
        }
        Talk::send_head(&talk);
        let host = self.script.host().clone();
        let (raw, handle) = (Bytes::copy_from_slice(request.raw), request.handle.clone());
        running.then(move |outcome| {
            host.0.talks.end(token);
            let answer = ended(&version, &outcome, &talk);
            let responder = talk.borrow_mut().responder.take();
            if let Some((answer, responder)) = answer.zip(responder) {
                answer.make(&raw, handle.unix_time(), &handle, |reply| responder.reply(reply));
            }
        });
        Handled::Later
    }
}
