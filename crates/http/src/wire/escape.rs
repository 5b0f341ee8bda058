//! Foreign bytes in log lines and on consoles.
//!
//! A line in a log must stay one line, and must not move a terminal's cursor, whatever the
//! client sent: every byte outside printable ASCII is written as `\x1b`. Quotes and backslashes
//! are escaped, so that a quoted field can be read back.

use std::fmt;

use super::bytes::HEX;

/// Shows bytes with everything escaped that is not printable ASCII.
#[derive(Clone, Copy, Debug)]
pub struct Escaped<'a>(pub &'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;

        let mut rest = self.0;
        while !rest.is_empty() {
            let plain = |&b: &u8| matches!(b, b' '..=b'~') && b != b'"' && b != b'\\';
            let len = rest.iter().position(|b| !plain(b)).unwrap_or(rest.len());
            let (text, foreign) = rest.split_at(len);
            out.write_str(str::from_utf8(text).map_err(|_| fmt::Error)?)?;
            let Some((&byte, after)) = foreign.split_first() else { break };
            match byte {
                b'"' => out.write_str("\\\"")?,
                b'\\' => out.write_str("\\\\")?,
                _ => {
                    out.write_str("\\x")?;
                    for digit in [byte >> 4, byte & 15] {
                        out.write_char(char::from(HEX[usize::from(digit)].to_ascii_lowercase()))?;
                    }
                }
            }
            rest = after;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_stays_one_line() {
        let text = b"GET /\x1b[2J\r\n\"\\\xff\x7f\x00 end";
        let expected = "GET /\\x1b[2J\\x0d\\x0a\\\"\\\\\\xff\\x7f\\x00 end";
        assert_eq!(Escaped(text).to_string(), expected);
        assert_eq!(Escaped(b"").to_string(), "");
    }
}
