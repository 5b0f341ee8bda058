//! Several ranges in one reply: multipart/byteranges (RFC 9110, section 14.6).

use std::time::Duration;

use bytes::Bytes;
use medusa_core::producer::{Chain, FileSource, Once};

use crate::files::stored::Stored;
use crate::reply::{Body, Reply};
use crate::wire::range::ByteRange;
use crate::wire::reply::imf_date;

/// The value of a Content-Range field.
pub(crate) fn content_range(range: ByteRange, size: u64) -> String {
    format!("bytes {}-{}/{size}", range.start, range.end - 1)
}

/// Answers with each range as a part of its own; only the parts say which.
pub(crate) fn reply(stored: &Stored, ranges: &[ByteRange], now: Duration) -> Reply {
    // Nothing in the content can be made to look like it beforehand: the time is part of it.
    let boundary = format!("medusa-{:x}-{:x}", stored.stamp.modified_ns, now.as_nanos());
    let mut chain = Chain::new();
    for (i, &range) in ranges.iter().enumerate() {
        let lead = format!(
            "{}--{boundary}\r\nContent-Type: {}\r\nContent-Range: {}\r\n\r\n",
            if i == 0 { "" } else { "\r\n" },
            stored.content_type(),
            content_range(range, stored.size()),
        );
        chain = chain.then(Once::new(Bytes::from(lead)));
        chain = match stored.slice(range) {
            Body::File(range) => chain.then(FileSource::new(range)),
            Body::Bytes(bytes) => chain.then(Once::new(bytes)),
            Body::Empty | Body::Producer(..) => chain,
        };
    }
    chain = chain.then(Once::new(Bytes::from(format!("\r\n--{boundary}--\r\n"))));
    Reply::new(206)
        .block(stored.shared_lines().clone())
        .field("Content-Type", format!("multipart/byteranges; boundary={boundary}"))
        .field("Accept-Ranges", "bytes")
        .field("ETag", stored.etag())
        .field("Last-Modified", imf_date(stored.modified()))
        .producer(chain)
}
