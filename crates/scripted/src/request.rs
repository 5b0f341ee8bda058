//! `http.request`: requests that scripts make of other servers.
//!
//! The one design choice: an answer is given whole, within a limit, since a script that holds half
//! of one would have to be trusted to go on.

use std::cell::RefCell;
use std::mem::take;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use medusa_core::collector::{Collector, Flow, Refused};
use medusa_core::handle::TimerId;
use medusa_core::{Address, Handle};
use medusa_http::Body;
use medusa_http::client::{Answer, Client, ClientRequest, ClientSettings, SystemLookup, Target};
use medusa_http::wire::head::Method;
use medusa_http::wire::target::Authority;
use medusa_script::{Later, Value};

/// Bytes of the body of an answer, at most, and unless the script says fewer: as many as a text.
pub(crate) const ANSWER_BYTES: usize = 1 << 20;
/// Requests of all scripts that are under way at once.
pub(crate) const REQUESTS: usize = 64;
/// Connections that are kept for further requests.
const KEPT: usize = 16;
/// Time for the whole answer, unless the script says otherwise.
const WITHIN: Duration = Duration::from_secs(30);
/// The longest time that a script may give it.
const WITHIN_AT_MOST: Duration = Duration::from_secs(600);
/// Bytes of a URL.
const URL_BYTES: usize = 8 * 1024;

/// What the requests of scripts go through.
pub(crate) fn client(handle: &Handle) -> Client {
    let settings = ClientSettings {
        // The script's own time counts.
        head: WITHIN_AT_MOST,
        body: WITHIN_AT_MOST,
        body_rate: 0,
        connections: REQUESTS,
        connections_each: REQUESTS / 2,
        idle: KEPT,
        idle_each: KEPT / 2,
        ..ClientSettings::default()
    };
    Client::new(handle, settings, Box::new(SystemLookup(handle.clone())))
}

/// What a script asks for.
struct Asked {
    target: Target,
    request: ClientRequest,
    within: Duration,
    limit: usize,
}

/// A script that waits for an answer, and what ends its waiting.
struct Waiting(RefCell<Option<(Later, TimerId)>>, Handle);

impl Waiting {
    /// Answers, unless somebody has.
    fn answer(&self, answer: Result<Vec<Value>, String>) {
        if let Some((later, timer)) = self.0.take() {
            self.1.cancel_timer(timer);
            later.answer(answer);
        }
    }

    fn is_wanted(&self) -> bool {
        self.0.borrow().as_ref().is_some_and(|(later, _)| later.is_wanted())
    }
}

/// Makes a request for a script that waits for its answer.
pub(crate) fn request(handle: &Handle, client: &Client, args: &[Value], later: Later) {
    let asked = match asked(args) {
        Ok(asked) => asked,
        Err(why) => return later.answer(Err(why)),
    };
    let Asked { target, request, within, limit } = asked;
    let name = target.to_string();
    let waiting = Rc::new(Waiting(RefCell::new(None), handle.clone()));
    let (heard, late) = (waiting.clone(), waiting.clone());
    let whose = name.clone();
    let call = client.send(target, request, move |answer| match answer {
        Ok(answer) if heard.is_wanted() => Some(taker(&answer, heard, limit, whose)),
        Ok(_) => None,
        Err(why) => {
            heard.answer(Err(format!("{whose}: {why}")));
            None
        }
    });
    let timer = handle.timer(within, move |_| {
        late.answer(Err(format!("{name}: no whole answer within {} s", within.as_secs_f64())));
        call.cancel();
    });
    waiting.0.replace(Some((later, timer)));
}

/// Takes the body of an answer for the script that waits for it.
fn taker(
    answer: &Answer<'_>,
    waiting: Rc<Waiting>,
    limit: usize,
    whose: String,
) -> Box<dyn Collector> {
    let status = i64::from(answer.head.status);
    let mut fields: Vec<(String, Vec<u8>)> = Vec::new();
    for (name, value) in answer.head.fields.iter() {
        let name = name.to_ascii_lowercase();
        match fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => {
                values.extend_from_slice(b", ");
                values.extend_from_slice(value);
            }
            None => fields.push((name, value.to_vec())),
        }
    }
    Box::new(Taker { waiting, status, fields, body: Vec::new(), limit, whose })
}

struct Taker {
    waiting: Rc<Waiting>,
    status: i64,
    fields: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    limit: usize,
    whose: String,
}

impl Collector for Taker {
    fn collect(&mut self, part: &[u8]) -> Result<Flow, Refused> {
        if part.len() > self.limit - self.body.len() {
            let (whose, limit) = (&self.whose, self.limit);
            let why = format!("{whose}: the answer has more than {limit} bytes (see `limit`)");
            self.waiting.answer(Err(why));
        }
        if !self.waiting.is_wanted() {
            return Err(Refused::Told);
        }
        self.body.extend_from_slice(part);
        Ok(Flow::Go)
    }

    fn flow(&self) -> Result<Flow, Refused> {
        Ok(Flow::Go)
    }

    fn end(mut self: Box<Self>) {
        let fields = take(&mut self.fields).into_iter();
        let fields = fields.map(|(name, value)| (Value::from(name), Value::from(value)));
        self.waiting.answer(Ok(vec![
            Value::Integer(self.status),
            Value::Map(fields.collect()),
            Value::from(take(&mut self.body)),
        ]));
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.waiting.answer(Err(format!("{}: the answer was cut short", self.whose)));
    }
}

/// Reads what a script asks for: a URL, or a table.
fn asked(args: &[Value]) -> Result<Asked, String> {
    let Some(Value::Map(options)) = args.first() else {
        return Err("argument 1 must be a table with a `url`".to_owned());
    };
    for (name, _) in options {
        let name = name.as_text().map_or(&b""[..], |name| name);
        if !OPTIONS.contains(&name) {
            let all = "url, method, headers, body, timeout, limit and address";
            let name = name.escape_ascii();
            return Err(format!("a request has no `{name}`; it may have {all}"));
        }
    }
    let option = |wanted: &str| {
        let named = options
            .iter()
            .find(|(name, _)| name.as_text().is_some_and(|name| name == wanted.as_bytes()));
        named.map_or(&Value::Nil, |(_, value)| value)
    };
    let text = |wanted: &str| match option(wanted) {
        Value::Nil => Ok(None),
        Value::Text(text) => match std::str::from_utf8(text) {
            Ok(text) => Ok(Some(text)),
            Err(_) => Err(format!("`{wanted}` must be UTF-8")),
        },
        other => Err(format!("`{wanted}` must be a string, not {}", other.kind())),
    };
    let url = text("url")?.ok_or("a request needs a `url`")?;
    let (authority, path) = split(url)?;
    let method = text("method")?.unwrap_or("GET");
    let method = Method::of(method).ok_or_else(|| format!("there is no method `{method}`"))?;
    let within = match option("timeout") {
        Value::Nil => WITHIN,
        seconds => seconds
            .as_number()
            .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
            .filter(|within| *within <= WITHIN_AT_MOST)
            .ok_or_else(|| {
                format!("`timeout` is a number of seconds, at most {}", WITHIN_AT_MOST.as_secs())
            })?,
    };
    let limit = match option("limit") {
        Value::Nil => ANSWER_BYTES,
        bytes => bytes
            .as_integer()
            .and_then(|bytes| usize::try_from(bytes).ok())
            .filter(|bytes| *bytes <= ANSWER_BYTES)
            .ok_or_else(|| format!("`limit` is a number of bytes, at most {ANSWER_BYTES}"))?,
    };
    let target = match text("address")? {
        None => {
            let host = authority.host().trim_matches(['[', ']']);
            Target::new(host, authority.port().unwrap_or(80))
        }
        Some(address) => match address.parse() {
            Ok(address @ (Address::Inet(_) | Address::Unix(_))) => Target::Address(address),
            _ => return Err("`address` is IP:PORT or unix:PATH".to_owned()),
        },
    };
    let mut builder = ClientRequest::build(method, authority.as_str(), &path);
    for (name, value) in headers(option("headers"))? {
        let name = String::from_utf8_lossy(&name);
        builder = builder.field(&name, value).map_err(|e| format!("the header `{name}`: {e}"))?;
    }
    builder = match option("body") {
        Value::Nil => builder,
        Value::Text(body) => builder.body(Body::Bytes(body.clone())),
        other => return Err(format!("`body` must be a string, not {}", other.kind())),
    };
    let request = builder.end().map_err(|e| format!("this request cannot be made: {e}"))?;
    Ok(Asked { target, request, within, limit })
}

/// What a request may have.
const OPTIONS: [&[u8]; 7] =
    [b"url", b"method", b"headers", b"body", b"timeout", b"limit", b"address"];

/// Takes a URL apart: who is asked, and the target of the request.
fn split(url: &str) -> Result<(Authority<'_>, String), String> {
    if url.len() > URL_BYTES {
        return Err(format!("a URL has at most {URL_BYTES} bytes"));
    }
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    if scheme.eq_ignore_ascii_case("https") {
        let instead = "ask a proxy on this machine that does, by http and its address";
        return Err(format!("https is not spoken here: {instead}"));
    }
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(format!("`{}` is no URL that begins with http://", url.escape_debug()));
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(end);
    if authority.contains('@') {
        return Err("a URL has no user here: send the header Authorization".to_owned());
    }
    let parsed = Authority::parse(authority.as_bytes())
        .map_err(|_| format!("`{}` is no host", authority.escape_debug()))?;
    let target = target.split('#').next().unwrap_or_default();
    let slash = if target.starts_with('/') { "" } else { "/" };
    Ok((parsed, format!("{slash}{target}")))
}

/// The fields of a request: each a text, a number, or a list of these.
fn headers(given: &Value) -> Result<Vec<(Bytes, Bytes)>, String> {
    let fields = match given {
        Value::Nil => return Ok(Vec::new()),
        Value::Map(fields) => fields,
        Value::List(list) if list.is_empty() => return Ok(Vec::new()),
        other => return Err(format!("`headers` must be a table of names, not {}", other.kind())),
    };
    let one = |name: &Bytes, value: &Value| match value {
        Value::Text(text) => Ok((name.clone(), text.clone())),
        Value::Integer(n) => Ok((name.clone(), n.to_string().into())),
        other => Err(format!("a header must be a string, not {}", other.kind())),
    };
    let mut all = Vec::new();
    for (name, value) in fields {
        let name = name.as_text().ok_or("the names of headers are strings")?;
        match value {
            Value::List(values) => {
                for value in values {
                    all.push(one(name, value)?);
                }
            }
            value => all.push(one(name, value)?),
        }
    }
    Ok(all)
}
