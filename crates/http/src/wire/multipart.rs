//! Forms that were sent as multipart/form-data: their parts, with content as it comes (RFC 7578,
//! RFC 2046 §5.1).
//!
//! The one design choice: the decoder keeps no input. What it did not take is shown to it again
//! with more behind it, as with the core's terminators, whose search for boundaries it shares; so a
//! boundary is found wherever the input was split, and content is never copied here.
//!
//! ```text
//! Start ──► Preamble ──► Line ──► Head ──► Content ─┐
//!   └─────────────────────►▲ │                      │
//!                          │ └─ `--` ─► Epilogue    │
//!                          └────────────────────────┘
//! ```

use std::borrow::Cow;

use medusa_core::terminator::{Cut, Terminator, cut_at_boundary};

use super::{
    MAX_BOUNDARY, MAX_BOUNDARY_PADDING, MAX_PART_FIELDS, MAX_PART_HEAD, MAX_PARTS, MAX_PREAMBLE,
    Reject, bytes, fields::FieldTable,
};

/// What a part is, by its head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartHead {
    /// The name of the form's field.
    pub name: Box<[u8]>,
    /// The name of the file, without directories, where the part is a file. Empty where a browser
    /// sends a file field in which nothing was chosen. Any bytes: whoever uses it as a name checks
    /// it.
    pub file_name: Option<Box<[u8]>>,
}

/// What comes next in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing before more input has come.
    Need,
    /// A part begins.
    Part(PartHead),
    /// The first `len` bytes of the input are content of the part that began last.
    Data {
        /// Bytes; may be 0 if they are the last.
        len: usize,
        /// Whether the part ends with them.
        last: bool,
    },
    /// The last part has ended. What may follow means nothing (RFC 2046 §5.1.1).
    Done,
}

/// Takes a multipart body apart.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The boundary as it stands behind content: CR LF, two hyphens, the boundary.
    delimiter: Box<[u8]>,
    state: State,
    /// Bytes of the preamble so far.
    preamble: usize,
    /// Parts so far.
    parts: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the first byte: the first boundary needs no line end before it.
    Start,
    Preamble,
    /// Behind a boundary, on its line.
    Line,
    Head,
    Content,
    Epilogue,
}

impl Decoder {
    /// Begins a body whose request has this `Content-Type`; `None` if that is no
    /// multipart/form-data.
    ///
    /// # Errors
    ///
    /// 400 for a boundary that is missing or malformed (RFC 2046 §5.1.1).
    pub fn of(content_type: &[u8]) -> Option<Result<Self, Reject>> {
        let end = content_type.iter().position(|&b| b == b';').unwrap_or(content_type.len());
        let (media_type, parameters) = content_type.split_at(end);
        bytes::trim(media_type)
            .eq_ignore_ascii_case(b"multipart/form-data")
            .then(|| Self::new(&one_parameter(parameters, "boundary")?.unwrap_or_default()))
    }

    /// Begins a body with this boundary.
    ///
    /// # Errors
    ///
    /// 400 for what is no boundary.
    pub fn new(boundary: &[u8]) -> Result<Self, Reject> {
        // Without CR and LF in it, a boundary that breaks off cannot begin within itself.
        let allowed = |b: &u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(b);
        let length = 1..=MAX_BOUNDARY;
        if !length.contains(&boundary.len())
            || !boundary.iter().all(allowed)
            || boundary.ends_with(b" ")
        {
            return Err(Reject::bad("the form has no valid boundary"));
        }
        let delimiter = [b"\r\n--", boundary].concat().into();
        Ok(Self { delimiter, state: State::Start, preamble: 0, parts: 0 })
    }

    /// Takes from the front of `input`; gives how many bytes are done with, and what they were. The
    /// rest is to be shown again, with what follows it; it is never more than the limit of a part's
    /// head before [`Step::Need`].
    ///
    /// # Errors
    ///
    /// 400 for what is malformed or over a limit. After an error the decoder is of no use.
    pub fn decode(&mut self, input: &[u8]) -> Result<(usize, Step), Reject> {
        let mut at = 0;
        loop {
            let rest = &input[at..];
            match self.state {
                State::Start => {
                    let first = &self.delimiter[2..];
                    if rest.starts_with(first) {
                        at += first.len();
                        self.state = State::Line;
                    } else if first.starts_with(rest) {
                        return Ok((at, Step::Need));
                    } else {
                        self.state = State::Preamble;
                    }
                }
                State::Preamble => {
                    let (skipped, taken) = match cut_at_boundary(&self.delimiter, rest) {
                        Cut::End { frame, consumed } => {
                            self.state = State::Line;
                            (frame, consumed)
                        }
                        Cut::Part { frame } => (frame, frame),
                        _ => return Ok((at, Step::Need)),
                    };
                    self.preamble += skipped;
                    if self.preamble > MAX_PREAMBLE {
                        return Err(Reject::bad("the form does not begin with its boundary"));
                    }
                    at += taken;
                }
                State::Line => {
                    if rest.starts_with(b"--") {
                        self.state = State::Epilogue;
                        return Ok((at + 2, Step::Done));
                    }
                    let Some(len) = boundary_line(rest)? else { return Ok((at, Step::Need)) };
                    self.parts += 1;
                    if self.parts > MAX_PARTS {
                        return Err(Reject::bad("the form has too many parts"));
                    }
                    at += len;
                    self.state = State::Head;
                }
                State::Head => {
                    let Some(len) = part_head_len(rest)? else { return Ok((at, Step::Need)) };
                    let head = part_head(&rest[..len])?;
                    self.state = State::Content;
                    return Ok((at + len, Step::Part(head)));
                }
                State::Content => {
                    return Ok(match cut_at_boundary(&self.delimiter, rest) {
                        Cut::End { frame, consumed } => {
                            self.state = State::Line;
                            (consumed, Step::Data { len: frame, last: true })
                        }
                        Cut::Part { frame } => (frame, Step::Data { len: frame, last: false }),
                        _ => (0, Step::Need),
                    });
                }
                State::Epilogue => return Ok((input.len(), Step::Need)),
            }
        }
    }

    /// Whether the last part has ended.
    pub fn is_complete(&self) -> bool {
        self.state == State::Epilogue
    }
}

/// Bytes from behind a boundary to the end of its line, once that has come: nothing but white space
/// (RFC 2046 §5.1.1).
fn boundary_line(rest: &[u8]) -> Result<Option<usize>, Reject> {
    let padding = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    if padding <= MAX_BOUNDARY_PADDING {
        match &rest[padding..] {
            [b'\r', b'\n', ..] => return Ok(Some(padding + 2)),
            [] | [b'\r'] => return Ok(None),
            [b'-'] if padding == 0 => return Ok(None),
            _ => {}
        }
    }
    Err(Reject::bad("more than a boundary on a boundary line of the form"))
}

/// Bytes of a part's head with its blank line, once that has come.
fn part_head_len(rest: &[u8]) -> Result<Option<usize>, Reject> {
    const END: &[u8] = b"\r\n\r\n";
    let limit = (MAX_PART_HEAD - END.len()) as u32;
    match (Terminator::Delimiter { delimiter: END, limit }).cut(rest, 0) {
        Cut::End { consumed, .. } => Ok(Some(consumed)),
        Cut::Partial { .. } => Ok(None),
        _ => Err(Reject::bad("the head of a part of the form is too large")),
    }
}

/// Reads the head of a part.
///
/// It says by its Content-Disposition what it is (RFC 7578 §4.2). An encoding of the content is
/// not decoded by anybody any more, so that it is refused (§4.7).
fn part_head(head: &[u8]) -> Result<PartHead, Reject> {
    let mut table = FieldTable::new();
    let fields = table.parse(head, 0)?;
    if fields.len() > MAX_PART_FIELDS {
        return Err(Reject::bad("the head of a part of the form has too many fields"));
    }
    let encoding = fields.field("Content-Transfer-Encoding").unwrap_or(b"binary");
    if !["binary", "8bit", "7bit"].iter().any(|e| encoding.eq_ignore_ascii_case(e.as_bytes())) {
        return Err(Reject::bad("a part of the form is encoded"));
    }
    let mut all = fields.iter().filter(|(n, _)| n.eq_ignore_ascii_case("Content-Disposition"));
    let (Some((_, disposition)), None) = (all.next(), all.next()) else {
        return Err(Reject::bad("a part of the form has not one Content-Disposition"));
    };
    let end = disposition.iter().position(|&b| b == b';').unwrap_or(disposition.len());
    let (kind, parameters) = disposition.split_at(end);
    if !bytes::trim(kind).eq_ignore_ascii_case(b"form-data") {
        return Err(Reject::bad("a part of the form is no form-data"));
    }
    let Some(name) = one_parameter(parameters, "name")? else {
        return Err(Reject::bad("a part of the form has no name"));
    };
    // `filename*` counts for nothing (RFC 7578 §4.2).
    let file_name = one_parameter(parameters, "filename")?.map(|name| base_name(&name));
    Ok(PartHead { name: name.into(), file_name })
}

/// The name of a file without the directories that some clients send, of either kind, and with the
/// three bytes decoded that browsers encode in it.
fn base_name(name: &[u8]) -> Box<[u8]> {
    let from = name.iter().rposition(|b| matches!(b, b'/' | b'\\')).map_or(0, |at| at + 1);
    let mut out = Vec::with_capacity(name.len() - from);
    let mut rest = &name[from..];
    while let Some(&byte) = rest.first() {
        let (decoded, len) = match rest.get(..3) {
            Some(b"%22") => (b'"', 3),
            Some(b"%0D" | b"%0d") => (b'\r', 3),
            Some(b"%0A" | b"%0a") => (b'\n', 3),
            _ => (byte, 1),
        };
        out.push(decoded);
        rest = &rest[len..];
    }
    out.into()
}

/// The value of the one parameter of this name in `; name=value; …`.
///
/// # Errors
///
/// 400 where the list is malformed, or the parameter stands twice.
fn one_parameter<'a>(mut list: &'a [u8], name: &str) -> Result<Option<Cow<'a, [u8]>>, Reject> {
    const MALFORMED: Reject = Reject::bad("the parameters of a field are malformed");
    let mut found = None;
    loop {
        list = bytes::trim(list);
        let Some(rest) = list.strip_prefix(b";") else {
            return if list.is_empty() { Ok(found) } else { Err(MALFORMED) };
        };
        list = bytes::trim(rest);
        if list.is_empty() || list.starts_with(b";") {
            continue;
        }
        let (key, rest) = list.split_at(bytes::token_len(list));
        let rest = rest.strip_prefix(b"=").filter(|_| !key.is_empty()).ok_or(MALFORMED)?;
        let (value, rest) = if let Some(quoted) = rest.strip_prefix(b"\"") {
            unquote(quoted).ok_or(MALFORMED)?
        } else {
            let (value, rest) = rest.split_at(bytes::token_len(rest));
            (Cow::Borrowed(value), rest)
        };
        if key.eq_ignore_ascii_case(name.as_bytes()) && found.replace(value).is_some() {
            return Err(MALFORMED);
        }
        list = rest;
    }
}

/// The text of a quoted string whose first quote is taken off, and what follows its last one.
///
/// Clients do not agree on the backslash: some escape quotes and backslashes with it, browsers mean
/// it as itself. So it escapes these two and stands for itself before all others.
fn unquote(quoted: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    let plain = quoted.iter().position(|b| matches!(b, b'"' | b'\\'))?;
    if quoted[plain] == b'"' {
        return Some((Cow::Borrowed(&quoted[..plain]), &quoted[plain + 1..]));
    }
    let mut out = Vec::with_capacity(quoted.len());
    let mut rest = quoted;
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some((Cow::Owned(out), after)),
            [b'\\', byte @ (b'"' | b'\\'), after @ ..] | [byte, after @ ..] => {
                out.push(*byte);
                after
            }
            [] => return None,
        };
    }
}
