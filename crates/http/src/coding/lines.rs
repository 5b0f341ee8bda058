//! What the field lines of a reply say of coding, and what coding makes of them.

use crate::reply::Reply;
use crate::wire::coding::Coding;

/// What a reply's lines say.
pub(super) struct Found<'r> {
    pub(super) content_type: Option<&'r [u8]>,
    /// The body is to stay as it is: it is coded, it is a part, or its coding is forbidden.
    pub(super) fixed: bool,
}

/// Reads the lines of a reply.
pub(super) fn find(reply: &Reply) -> Found<'_> {
    let mut found = Found { content_type: None, fixed: false };
    for (name, value) in reply.lines() {
        if name.eq_ignore_ascii_case(b"content-type") {
            found.content_type = Some(value);
        } else if name.eq_ignore_ascii_case(b"content-encoding")
            || name.eq_ignore_ascii_case(b"content-range")
            || (name.eq_ignore_ascii_case(b"cache-control") && forbids(value))
        {
            found.fixed = true;
        }
    }
    found
}

/// Whether a Cache-Control has a `no-transform` (RFC 9111 §5.2.2.6).
pub(crate) fn forbids(cache_control: &[u8]) -> bool {
    let mut members = cache_control.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    members.any(|member| member.eq_ignore_ascii_case(b"no-transform"))
}

/// Says in the lines of a reply that its body depends on what the client takes, and which coding
/// it is in.
pub(super) fn rewrite(reply: &mut Reply, coding: Option<Coding>) {
    let mut fields = Vec::with_capacity(256);
    let mut vary = Vec::new();
    for (name, value) in reply.lines() {
        if name.eq_ignore_ascii_case(b"vary") {
            if !vary.is_empty() {
                vary.extend_from_slice(b", ");
            }
            vary.extend_from_slice(value);
            continue;
        }
        if coding.is_some() && name.eq_ignore_ascii_case(b"accept-ranges") {
            continue;
        }
        fields.extend_from_slice(name);
        fields.extend_from_slice(b": ");
        if coding.is_some() && name.eq_ignore_ascii_case(b"etag") && !value.starts_with(b"W/") {
            fields.extend_from_slice(b"W/");
        }
        fields.extend_from_slice(value);
        fields.extend_from_slice(b"\r\n");
    }
    if let Some(coding) = coding {
        fields.extend_from_slice(format!("Content-Encoding: {coding}\r\n").as_bytes());
    }
    let mut members = vary.split(|&b| b == b',').map(<[u8]>::trim_ascii);
    if !members.any(|m| m == b"*" || m.eq_ignore_ascii_case(b"accept-encoding")) {
        vary.extend_from_slice(if vary.is_empty() { b"" } else { b", " });
        vary.extend_from_slice(b"Accept-Encoding");
    }
    fields.extend_from_slice(b"Vary: ");
    fields.extend_from_slice(&vary);
    fields.extend_from_slice(b"\r\n");
    reply.set_lines(fields);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn rewritten(fields: &[(&str, &str)], coding: Option<Coding>) -> String {
        let mut reply = Reply::new(200).block(Bytes::from_static(b"Content-Type: text/css\r\n"));
        for (name, value) in fields {
            reply.add_field(name, value);
        }
        rewrite(&mut reply, coding);
        String::from_utf8(reply.fields).unwrap()
    }

    #[test]
    fn a_coded_reply_says_so() {
        let fields =
            [("ETag", "\"a:b\""), ("Accept-Ranges", "bytes"), ("vary", "Cookie"), ("X", "y")];
        assert_eq!(
            rewritten(&fields, Some(Coding::Gzip)),
            "Content-Type: text/css\r\nETag: W/\"a:b\"\r\nX: y\r\nContent-Encoding: gzip\r\n\
             Vary: Cookie, Accept-Encoding\r\n"
        );
        assert_eq!(
            rewritten(&fields, None),
            "Content-Type: text/css\r\nETag: \"a:b\"\r\nAccept-Ranges: bytes\r\nX: y\r\n\
             Vary: Cookie, Accept-Encoding\r\n"
        );
    }

    #[test]
    fn vary_names_it_once() {
        for (vary, expected) in [
            ("*", "*"),
            ("accept-encoding", "accept-encoding"),
            ("Cookie,Accept-Encoding", "Cookie,Accept-Encoding"),
            ("Accept", "Accept, Accept-Encoding"),
        ] {
            let text = rewritten(&[("Vary", vary), ("ETag", "W/\"1\"")], Some(Coding::Zstd));
            assert!(text.ends_with(&format!("\r\nVary: {expected}\r\n")), "{text}");
            assert!(text.contains("\r\nETag: W/\"1\"\r\n"), "{text}");
        }
    }

    #[test]
    fn what_must_stay_as_it_is_is_found() {
        for (name, value, fixed) in [
            ("Content-Encoding", "br", true),
            ("content-range", "bytes 0-1/2", true),
            ("Cache-Control", "max-age=5, No-Transform", true),
            ("Cache-Control", "no-transformation", false),
            ("Content-Language", "de", false),
        ] {
            let reply = Reply::new(200).field("Content-Type", "text/css").field(name, value);
            let found = find(&reply);
            assert_eq!(found.fixed, fixed, "{name}: {value}");
            assert_eq!(found.content_type, Some(&b"text/css"[..]));
        }
    }
}
