//! The rows about request heads.

use super::{Outcome, all, outcome, passes, status, with_fields, with_line};
use crate::wire::{
    MAX_FIELDS, MAX_HEAD, MAX_TARGET,
    framing::BodyFraming,
    head::{Expect, Version},
};

#[test]
fn ordinary_requests_pass() {
    all(
        200,
        status,
        [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.0\r\n\r\n",
            "HEAD /a/b?c=d&e HTTP/1.1\r\nHost: a.b.c:8080\r\nAccept: */*\r\n\r\n",
            "MKCOL /a HTTP/1.1\r\nhost:a\r\nx-empty:\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
            "CONNECT a.b:443 HTTP/1.1\r\nHost: a.b:443\r\n\r\n",
        ],
    );
}

#[test]
fn content_length_and_transfer_encoding_together() {
    all(
        400,
        with_fields,
        [
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: chunked\r\ncontent-length: 0",
            "Transfer-Encoding: gzip, chunked\r\ncontent-length: 0",
        ],
    );
}

#[test]
fn transfer_encoding_in_http_1_0() {
    all(
        400,
        status,
        [
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        ],
    );
}

#[test]
fn transfer_encoding_whose_last_coding_is_not_chunked() {
    all(
        400,
        with_fields,
        [
            "Transfer-Encoding: gzip",
            "Transfer-Encoding: chunked, gzip",
            "Transfer-Encoding: identity",
            "Transfer-Encoding:",
            "Transfer-Encoding: chunked,",
            "Transfer-Encoding: chunked;q=1",
            "Transfer-Encoding: \"chunked\"",
        ],
    );
}

#[test]
fn unknown_coding_before_chunked() {
    all(
        501,
        with_fields,
        [
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: identity, chunked",
            "Transfer-Encoding: foo;a=b ,\tCHUNKED",
        ],
    );
}

#[test]
fn chunked_in_disguise() {
    all(
        400,
        with_fields,
        [
            b"Transfer-Encoding: chunked, chunked".as_slice(),
            b"Transfer-Encoding: gzip, chunked, chunked",
            b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
            b"Transfer-Encoding: xchunked",
            b"Transfer-Encoding: \x0bchunked",
            b"Transfer-Encoding: \xa0chunked",
            b"Transfer-Encoding: chunked\x0c",
            b"Transfer-Encoding: ,chunked",
            b"Transfer-Encoding: gz ip, chunked",
        ],
    );
    passes("POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: \tChunked \r\n\r\n", |head| {
        assert_eq!(head.framing, BodyFraming::Chunked);
    });
}

#[test]
fn content_length_that_is_no_number() {
    all(
        400,
        with_fields,
        [
            "Content-Length:",
            "Content-Length: +5",
            "Content-Length: -1",
            "Content-Length: 0x5",
            "Content-Length: 1_0",
            "Content-Length: 5 5",
            "Content-Length: 5,",
            "Content-Length: 18446744073709551616",
            "Content-Length: 99999999999999999999999999",
            "Content-Length: 5, 6",
            "Content-Length: 5\r\nContent-Length: 6",
            "Content-Length: \u{664}",
        ],
    );
    for (length, framing) in [
        ("0", BodyFraming::None),
        ("5", BodyFraming::Length(5)),
        ("18446744073709551615", BodyFraming::Length(u64::MAX)),
    ] {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n");
        passes(&head, |head| assert_eq!(head.framing, framing));
    }
}

#[test]
fn content_length_that_is_repeated_equally() {
    all(400, with_fields, ["Content-Length: 5, 5", "Content-Length: 5\r\ncontent-length: 5"]);
}

#[test]
fn space_or_tab_before_the_colon() {
    all(400, with_fields, ["X : a", "X\t: a", "Content-Length : 5"]);
    all(400, status, ["GET / HTTP/1.1\r\nHost : a\r\n\r\n"]);
}

#[test]
fn folded_header_line() {
    all(400, with_fields, ["X: a\r\n b", "X: a\r\n\tb", "X: a\r\n : b", "X: a\r\n "]);
}

#[test]
fn white_space_before_the_first_field() {
    all(
        400,
        status,
        [
            "GET / HTTP/1.1\r\n Host: a\r\n\r\n",
            "GET / HTTP/1.1\r\n\tX: y\r\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\n \r\nHost: a\r\n\r\n",
        ],
    );
}

#[test]
fn line_without_a_colon_or_a_proper_name() {
    all(
        400,
        with_fields,
        [
            "X",
            ": a",
            "X Y: a",
            "X(: a",
            "X\u{e9}: a",
            "X\0: a",
            "X\u{7f}: a",
            "\"X\": a",
            "X@: a",
            "X/: a",
            "X[]: a",
            "X,Y: a",
        ],
    );
}

#[test]
fn control_bytes_in_the_head() {
    all(
        400,
        with_fields,
        [
            "X: a\0b",
            "X: a\rb",
            "X: a\nb",
            "X: \0",
            "X: a\r",
            "X:\r\r",
            "X\r: a",
            "\rX: a",
            "X: a\u{7f}",
            "X: \u{1b}",
            "X: a\rY: b",
        ],
    );
    all(
        400,
        with_line,
        ["GET\r / HTTP/1.1", "GET /\r HTTP/1.1", "GET / HTTP/1.1\r", "\rGET / HTTP/1.1"],
    );
    // In every block that the scan for controls looks at.
    for place in 0..100 {
        let mut value = [b'v'; 100];
        value[place] = b'\r';
        assert_eq!(with_fields([b"X: ", value.as_slice()].concat()), 400);
        value[place] = b'\t';
        assert_eq!(with_fields([b"X: ", value.as_slice()].concat()), 200);
    }
}

#[test]
fn bare_lf_as_a_line_end() {
    all(
        400,
        status,
        [
            "GET / HTTP/1.1\nHost: a\r\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\n\r\n",
            "GET / HTTP/1.1\r\nHost: a\r\n\n",
            "GET / HTTP/1.1\r\nHost: a\n\n",
            "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            // At once, not when the head is complete.
            "GET / HTTP/1.1\n",
            "\n",
        ],
    );
}

#[test]
fn empty_lines_before_the_request_line() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for (lines, expected) in [(0, 200), (1, 200), (2, 200), (3, 400), (9, 400)] {
        assert_eq!(status("\r\n".repeat(lines) + request), expected, "{lines}");
    }
    assert_eq!(outcome(b"\r\n\r\n"), Outcome::Partial);
    assert_eq!(status("\r\n\r\n\r\n"), 400);
}

#[test]
fn host_missing_repeated_or_invalid() {
    all(400, status, ["GET / HTTP/1.1\r\n\r\n", "GET http://a/ HTTP/1.1\r\n\r\n"]);
    all(400, with_fields, ["Host: a", "hOST: b"]);
    for version in ["1.0", "1.1"] {
        for host in
            ["[]", "a b", "a/b", "", "a, b", "u@a", "a:b", "a:99999", "[::1", "::1", "a?b", "a#b"]
        {
            assert_eq!(
                status(format!("GET / HTTP/{version}\r\nHost: {host}\r\n\r\n")),
                400,
                "{host}"
            );
        }
        let twice = format!("GET / HTTP/{version}\r\nHost: a\r\nHost: a\r\n\r\n");
        assert_eq!(status(twice), 400);
    }
}

#[test]
fn absolute_form_with_a_different_host() {
    passes("GET http://a:8080/x HTTP/1.1\r\nHost: b\r\n\r\n", |head| {
        assert_eq!(head.host.unwrap().as_str(), "a:8080");
    });
}

#[test]
fn user_info_fragment_or_a_port_that_is_not_numeric() {
    all(
        400,
        with_line,
        [
            "GET http://u@a/ HTTP/1.1",
            "GET http://u:p@a/ HTTP/1.1",
            "GET http://a/#f HTTP/1.1",
            "GET http://a#f HTTP/1.1",
            "GET /#f HTTP/1.1",
            "GET /a?b#f HTTP/1.1",
            "GET http://a:b/ HTTP/1.1",
            "GET http://a:-1/ HTTP/1.1",
            "GET http://a:65536/ HTTP/1.1",
            "GET http:///a HTTP/1.1",
            "GET http://:80/a HTTP/1.1",
            "GET http:/a HTTP/1.1",
            "GET 1http://a/ HTTP/1.1",
            "GET a HTTP/1.1",
            "GET a:80 HTTP/1.1",
        ],
    );
    all(200, with_line, ["GET http://a/b@c:d HTTP/1.1", "GET HTTPS://[::1]:443 HTTP/1.1"]);
}

#[test]
fn connect_with_an_empty_or_invalid_port() {
    all(
        400,
        with_line,
        [
            "CONNECT a HTTP/1.1",
            "CONNECT a: HTTP/1.1",
            "CONNECT a:0 HTTP/1.1",
            "CONNECT a:b HTTP/1.1",
            "CONNECT a:65536 HTTP/1.1",
            "CONNECT :443 HTTP/1.1",
            "CONNECT / HTTP/1.1",
            "CONNECT * HTTP/1.1",
            "CONNECT http://a:443/ HTTP/1.1",
            "CONNECT u@a:443 HTTP/1.1",
        ],
    );
    all(200, with_line, ["CONNECT a:443 HTTP/1.1", "CONNECT [::1]:443 HTTP/1.1"]);
}

#[test]
fn asterisk_with_a_method_other_than_options() {
    all(400, with_line, ["GET * HTTP/1.1", "PUT * HTTP/1.0", "OPTIONS ** HTTP/1.1"]);
    all(200, with_line, ["OPTIONS * HTTP/1.1"]);
}

#[test]
fn bad_byte_in_the_method() {
    all(
        400,
        with_line,
        [
            "G@T / HTTP/1.1",
            "GET\t/ HTTP/1.1",
            " GET / HTTP/1.1",
            "G\0T / HTTP/1.1",
            "G\u{e9}T / HTTP/1.1",
            "GET\x0b / HTTP/1.1",
            "/ HTTP/1.1",
            "GET: / HTTP/1.1",
            "",
            "\u{16}\u{3}\u{1}",
        ],
    );
}

#[test]
fn unknown_or_long_method() {
    let [fits, long, endless] = [32, 33, 2 * MAX_HEAD].map(|len| "A".repeat(len));
    all(
        501,
        with_line,
        [
            "BREW / HTTP/1.1".to_owned(),
            "get / HTTP/1.1".to_owned(),
            "GETT / HTTP/1.1".to_owned(),
            format!("{fits} / HTTP/1.1"),
            format!("{long} / HTTP/1.1"),
            endless,
            format!("{long}{long} / HTTP/1.1"),
        ],
    );
}

#[test]
fn malformed_version_or_separator() {
    all(
        400,
        with_line,
        [
            "GET / HTTP/1.11",
            "GET / HTTP/10.0",
            "GET / HTT/1.0",
            "GET / HTTP/1.",
            "GET / HTTP/.1",
            "GET / HTTP/1",
            "GET / http/1.1",
            "GET / HTTP/1,1",
            "GET / HTTP/a.1",
            "GET / HTTP/1.a",
            "GET / HTTP/+1.1",
            "GET / HTTP /1.1",
            "GET / HTTP/1.1 ",
            "GET  / HTTP/1.1",
            "GET /  HTTP/1.1",
            "GET / HTTP/1.1\t",
            "GET\t/ HTTP/1.1",
            "GET /\tHTTP/1.1",
            "GET\x0c/ HTTP/1.1",
            "GET /\x0cHTTP/1.1",
            "GET / HTTP/1.1 x",
            "GET / HTTP/1.1\0",
            "GET / ",
            "GET /x/1.1",
        ],
    );
}

#[test]
fn http_2_0_in_a_request_line() {
    all(505, with_line, ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3.1", "PRI * HTTP/2.0"]);
    assert_eq!(status("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
}

#[test]
fn http_1_2_is_treated_as_1_1() {
    for minor in 2..=9 {
        passes(&format!("GET / HTTP/1.{minor}\r\nHost: a\r\n\r\n"), |head| {
            assert!(head.connection.keep_alive);
            assert_eq!(head.version, Version::Http11);
        });
    }
}

#[test]
fn no_version() {
    all(400, with_line, ["GET /", "GET", "GET "]);
    all(400, status, ["GET /\r\n\r\n", "GET\r\n\r\n"]);
}

#[test]
fn raw_bytes_in_the_target() {
    all(400, with_line, ["GET /a b HTTP/1.1".as_bytes(), b"GET /a b", b"GET / a HTTP/1.1"]);
    for byte in (0..=0x20).chain(0x7f..=0xff) {
        for place in 1..20 {
            let mut line = *b"GET /aaaaaaaaaaaaaaaaaaaa?bbbb HTTP/1.1";
            line[4 + place] = byte;
            assert_eq!(with_line(line), 400, "{byte:#x} at {place}");
        }
    }
}

#[test]
fn bad_percent_encoding() {
    all(
        400,
        with_line,
        [
            "GET /%00 HTTP/1.1",
            "GET /% HTTP/1.1",
            "GET /%a HTTP/1.1",
            "GET /%zz HTTP/1.1",
            "GET /%2 HTTP/1.1",
            "GET /%%41 HTTP/1.1",
            "GET /a%2 ?b HTTP/1.1",
            "GET /%+1 HTTP/1.1",
            "GET http://a/%00 HTTP/1.1",
            "GET /%2?0 HTTP/1.1",
            "GET http://a%00/ HTTP/1.1",
        ],
    );
    all(200, with_line, ["GET /%41%2f%e9 HTTP/1.1", "GET /?a=100% HTTP/1.1", "GET /?%00 HTTP/1.1"]);
}

#[test]
fn target_over_8_kib() {
    let line = |len: usize| format!("GET /{} HTTP/1.1", "a".repeat(len - 1));
    assert_eq!(with_line(line(MAX_TARGET)), 200);
    assert_eq!(with_line(line(MAX_TARGET + 1)), 414);
    assert_eq!(with_line(line(MAX_HEAD)), 414);
    assert_eq!(with_line(line(3 * MAX_HEAD)), 414);
}

#[test]
fn head_over_16_kib_or_100_fields() {
    let fields = |n: usize| (1..n).map(|i| format!("x{i}: y")).collect::<Vec<_>>().join("\r\n");
    assert_eq!(with_fields(fields(MAX_FIELDS)), 200);
    assert_eq!(with_fields(fields(MAX_FIELDS + 1)), 431);
    let rest = b"POST / HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n".len();
    assert_eq!(with_fields(format!("X: {}", "a".repeat(MAX_HEAD - rest))), 200);
    assert_eq!(with_fields(format!("X: {}", "a".repeat(MAX_HEAD - rest + 1))), 431);
    assert_eq!(with_fields("a: b\r\n".repeat(MAX_HEAD)), 431);
}

#[test]
fn expect_100_continue() {
    for (version, expect) in [("1.1", Expect::Continue), ("1.0", Expect::None)] {
        let head = format!("PUT / HTTP/{version}\r\nHost: a\r\nExpect: 100-Continue\r\n\r\n");
        passes(&head, |head| assert_eq!(head.expect, expect));
    }
}

#[test]
fn any_other_expect() {
    all(
        417,
        with_fields,
        [
            "Expect: 200-ok",
            "Expect:",
            "Expect: 100-continue, x",
            "Expect: 100-continue\r\nExpect: x",
        ],
    );
}

#[test]
fn pipelined_bytes_are_not_looked_at() {
    for rest in ["GET / HTTP/1.1\r\n", "\n", "\0", "\r\n\r\n\r\n"] {
        assert_eq!(status(format!("GET / HTTP/1.1\r\nHost: a\r\n\r\n{rest}")), 200);
    }
}
