//! How a line begins: with the client and the second, which the lines of one turn mostly share.

use std::cell::RefCell;
use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

use medusa_core::Peer;

use super::Form;
use crate::wire::reply::imf_date;

/// The beginning of the last line, kept while second, peer and form are the same.
#[derive(Debug)]
pub(crate) struct Lead(RefCell<Kept>);

#[derive(Debug)]
struct Kept {
    second: u64,
    ip: Option<IpAddr>,
    form: Form,
    /// `10.0.0.1 - - [22/Nov/2026:12:00:00 +0000] "`, or `{"time":"2026-11-22T12:00:00.` up to
    /// the milliseconds.
    text: Vec<u8>,
    /// In JSON, what stands behind the milliseconds: `Z","client":"10.0.0.1"`.
    tail: Vec<u8>,
}

impl Default for Lead {
    fn default() -> Self {
        Self(RefCell::new(Kept {
            second: u64::MAX,
            ip: None,
            form: Form::default(),
            text: Vec::new(),
            tail: Vec::new(),
        }))
    }
}

impl Lead {
    pub(super) fn append(&self, out: &mut Vec<u8>, form: Form, peer: Peer, unix_time: Duration) {
        let mut kept = self.0.borrow_mut();
        let ip = peer.ip();
        if kept.second != unix_time.as_secs() || kept.ip != ip || kept.form != form {
            kept.second = unix_time.as_secs();
            kept.ip = ip;
            kept.form = form;
            kept.renew(peer);
        }
        out.extend_from_slice(&kept.text);
        if form == Form::Json {
            let ms = unix_time.subsec_millis();
            let digit = |n: u32| b'0' + (n % 10) as u8;
            out.extend_from_slice(&[digit(ms / 100), digit(ms / 10), digit(ms)]);
            out.extend_from_slice(&kept.tail);
        }
    }
}

impl Kept {
    fn renew(&mut self, peer: Peer) {
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        // Sun, 06 Nov 1994 08:49:37 GMT
        let date = imf_date(self.second);
        let part = |range| std::str::from_utf8(&date[range]).unwrap_or("?");
        let (day, month, year, time) = (part(5..7), part(8..11), part(12..16), part(17..25));
        let client = self.ip.map_or_else(|| peer.to_string(), |ip| ip.to_string());
        self.text.clear();
        self.tail.clear();
        if self.form == Form::Json {
            let month = MONTHS.iter().position(|name| *name == month).map_or(0, |at| at + 1);
            write!(self.text, "{{\"time\":\"{year}-{month:02}-{day}T{time}.")
                .and_then(|()| write!(self.tail, "Z\",\"client\":\"{client}\""))
        } else {
            write!(self.text, "{client} - - [{day}/{month}/{year}:{time} +0000] \"")
        }
        .expect("a vector takes everything");
    }
}
