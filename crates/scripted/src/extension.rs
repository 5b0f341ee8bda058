//! An extension whose requests are handled by a function of a script.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use bytes::Bytes;
use medusa_core::{Aborted, Handle};
use medusa_http::wire::fields::FieldTable;
use medusa_http::wire::head::Head;
use medusa_http::{Body, Exchange, Extension, Handled, Reply, Request};
use medusa_script::library::text;
use medusa_script::{
    Begun, Budget, Callable, Engine, Library, Outcome, ScriptError, SharedTable, Value,
};

use crate::talk::{RequestBody, Talk, Talks};

/// What a script sees of a request.
const GLUE: &str = include_str!("glue.lua");

/// Fields that a script may put into one reply.
pub const REPLY_FIELDS: usize = 100;

/// An engine whose scripts can handle requests; cheap to clone. Extensions that share one share
/// its memory.
#[derive(Clone)]
pub struct Host(Rc<Inner>);

struct Inner {
    engine: Engine,
    talks: Rc<Talks>,
    serve: Callable,
}

impl Host {
    /// Makes an engine with `memory` bytes, whose scripts have this shared table.
    pub fn new(handle: &Handle, memory: usize, shared: &SharedTable) -> Result<Self, ScriptError> {
        let engine = Engine::new(handle, memory)?;
        let talks: Rc<Talks> = Rc::default();
        engine.add(shared.library())?;
        engine.add(library(&talks))?;
        let found = engine.load("http", b"return http.serve")?;
        let serve = match engine.call(&found, &[], Budget::default()) {
            Begun::Ended(Outcome { result: Ok(values), .. }) => values.into_iter().next(),
            _ => None,
        };
        let Some(Value::Function(serve)) = serve else {
            return Err(ScriptError::Refused("the engine is out of order".to_owned()));
        };
        Ok(Self(Rc::new(Inner { engine, talks, serve })))
    }

    /// The engine, to add libraries and to run other scripts.
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Requests that scripts are handling.
    pub fn requests(&self) -> usize {
        self.0.talks.len()
    }
}

/// The functions of the host behind a request's methods.
fn library(talks: &Rc<Talks>) -> Library {
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
        .made_by(GLUE)
}

/// Makes the head of a reply of what a script says.
fn head(status: &Value, fields: Option<&Value>) -> Result<Reply, String> {
    let status = status.as_integer().filter(|status| (200..600).contains(status));
    let status =
        status.ok_or("the status must be a number from 200 to 599").map(|status| status as u16)?;
    let mut reply = Reply::new(status);
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
    let mut typed = false;
    for (name, value) in fields {
        let name = name.as_text().map(|name| String::from_utf8_lossy(name).into_owned());
        let name = name.ok_or("the name of a field must be a string")?;
        typed |= name.eq_ignore_ascii_case("content-type");
        let values =
            if let Value::List(values) = value { &values[..] } else { std::slice::from_ref(value) };
        for value in values {
            reply.add_field(&name, shown(value)?);
        }
    }
    if !typed && !matches!(status, 204 | 304) {
        reply.add_field("Content-Type", "text/plain; charset=utf-8");
    }
    Ok(reply)
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

/// The reply that a script's results say: a status, a body, fields.
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

/// An extension in Lua.
pub struct ScriptExtension {
    name: String,
    host: Host,
    budget: Budget,
    handler: RefCell<Option<Callable>>,
}

impl ScriptExtension {
    /// Makes an extension of this name. It lets all requests pass until a script is loaded.
    pub fn new(name: impl Into<String>, host: &Host, budget: Budget) -> Rc<Self> {
        let (name, host) = (name.into(), host.clone());
        Rc::new(Self { name, host, budget, handler: RefCell::default() })
    }

    /// Loads a script, which must return the function that handles requests; `then` hears whether
    /// it did, perhaps at once. All or nothing: until it has returned that function, and if it
    /// never does, the one that was loaded before handles requests, as it does those that it has
    /// begun.
    pub fn load(
        self: &Rc<Self>,
        file: &str,
        source: &[u8],
        then: impl FnOnce(Result<(), ScriptError>) + 'static,
    ) {
        let script = match self.host.0.engine.load(file, source) {
            Ok(script) => script,
            Err(error) => return then(Err(error)),
        };
        let (this, file) = (self.clone(), file.to_owned());
        self.host.0.engine.call(&script, &[], self.budget).then(move |outcome| {
            then(outcome.result.and_then(|values| match values.into_iter().next() {
                Some(Value::Function(handler)) => {
                    this.handler.replace(Some(handler));
                    Ok(())
                }
                other => Err(ScriptError::Refused(format!(
                    "{file}: the script must return the function that handles requests, not {}",
                    other.unwrap_or_default().kind()
                ))),
            }));
        });
    }

    /// What one request comes to, when the script has ended.
    fn ended(&self, outcome: &Outcome, talk: &RefCell<Talk>) -> Option<Reply> {
        if !outcome.output.is_empty() {
            let output = String::from_utf8_lossy(&outcome.output);
            tracing::info!("script `{}` prints: {}", self.name, output.trim_end().escape_debug());
        }
        let (begun, gone) = (talk.borrow().has_begun(), talk.borrow().is_gone());
        let why = match &outcome.result {
            Ok(_) if begun => {
                talk.borrow_mut().finish(Ok(()));
                talk.borrow_mut().ended();
                return None;
            }
            Ok(values) => match reply(values) {
                Ok(reply) => {
                    talk.borrow_mut().ended();
                    return Some(reply);
                }
                Err(why) => why,
            },
            Err(error) if error.traceback().is_empty() => error.to_string(),
            Err(error) => format!("{error}\n{}", error.traceback()),
        };
        if gone {
            tracing::debug!("script `{}` ended without its client: {why}", self.name);
        } else {
            tracing::error!("script `{}` failed: {why}", self.name);
        }
        talk.borrow_mut().ended();
        if begun {
            talk.borrow_mut().finish(Err(Aborted::new("the script failed")));
            return None;
        }
        Some(Reply::text(500, "the script failed to answer"))
    }
}

impl Extension for ScriptExtension {
    fn name(&self) -> &str {
        &self.name
    }

    fn matches(&self, _: &Request<'_>) -> bool {
        self.handler.borrow().is_some()
    }

    fn handle(&self, request: &Request<'_>, exchange: &mut Exchange<'_>) -> Handled {
        let Some(handler) = self.handler.borrow().clone() else { return Handled::Pass };
        let inner = &self.host.0;
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
            request.peer.ip().map_or(Value::Nil, |ip| Value::from(ip.to_string())),
        ];
        let running = match inner.engine.call(&inner.serve, &arguments, self.budget) {
            Begun::Ended(outcome) => {
                inner.talks.end(token);
                return match self.ended(&outcome, &talk) {
                    Some(reply) => Handled::Now(reply),
                    None => Handled::Now(Reply::text(500, "the script failed to answer")),
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
        let extension = Self {
            name: self.name.clone(),
            host: self.host.clone(),
            budget: self.budget,
            handler: RefCell::default(),
        };
        running.then(move |outcome| {
            extension.host.0.talks.end(token);
            let reply = extension.ended(&outcome, &talk);
            let responder = talk.borrow_mut().responder.take();
            if let Some((reply, responder)) = reply.zip(responder) {
                responder.reply(reply);
            }
        });
        Handled::Later
    }
}
