//! Forms: whatever the split, the same parts, or the same refusal.

use proptest::prelude::*;

use crate::wire::multipart::{Decoder, PartHead, Step};
use crate::wire::{MAX_BOUNDARY, MAX_PART_FIELDS, MAX_PART_HEAD, MAX_PARTS, MAX_PREAMBLE, Reject};

/// A part: its field, its file, its content, and whether its end has come.
type Part = (String, Option<String>, Vec<u8>, bool);

/// The parts of a body that arrives up to each of `cuts`, and whether it is complete.
fn arrive(
    mut decoder: Decoder,
    input: &[u8],
    cuts: impl IntoIterator<Item = usize>,
) -> Result<(Vec<Part>, bool), Reject> {
    let text = |bytes: Box<[u8]>| String::from_utf8_lossy(&bytes).into_owned();
    let (mut parts, mut at) = (Vec::<Part>::new(), 0);
    for cut in cuts.into_iter().chain([input.len()]) {
        loop {
            let shown = &input[at..cut];
            let (taken, step) = decoder.decode(shown)?;
            at += taken;
            match step {
                Step::Need => {
                    assert!(cut - at < MAX_PART_HEAD, "more is held back than may be");
                    break;
                }
                Step::Part(PartHead { name, file_name }) => {
                    parts.push((text(name), file_name.map(text), Vec::new(), false));
                }
                Step::Data { len, last } => {
                    assert!(len > 0 || last, "no empty steps");
                    let part = parts.last_mut().expect("content belongs to a part");
                    assert!(!part.3, "a part ends once");
                    part.2.extend_from_slice(&shown[..len]);
                    part.3 = last;
                }
                Step::Done => assert!(decoder.is_complete()),
            }
        }
    }
    Ok((parts, decoder.is_complete()))
}

/// What a body with the boundary `b` is, which is the same however it arrives.
fn parse(body: &[u8]) -> Result<(Vec<Part>, bool), Reject> {
    let decoder = Decoder::new(b"b").expect("a boundary");
    let whole = arrive(decoder.clone(), body, []);
    for cut in (0..=body.len()).step_by(body.len() / 512 + 1) {
        assert_eq!(arrive(decoder.clone(), body, [cut]), whole, "cut at {cut}");
    }
    if body.len() < 2000 {
        assert_eq!(arrive(decoder, body, 1..=body.len()), whole, "byte by byte");
    }
    whole
}

/// The part that a Content-Disposition makes.
fn disposed(value: &str) -> Result<(String, Option<String>), Reject> {
    let body = format!("--b\r\nContent-Disposition: {value}\r\n\r\n\r\n--b--");
    let (mut parts, complete) = parse(body.as_bytes())?;
    assert!(complete && parts.len() == 1);
    let (name, file, content, ended) = parts.remove(0);
    assert!(content.is_empty() && ended);
    Ok((name, file))
}

fn part(name: &str, file: Option<&str>, content: &str) -> Part {
    (name.to_owned(), file.map(str::to_owned), content.as_bytes().to_vec(), true)
}

const FILE: &str = "Content-Disposition: form-data; name=\"f\"; filename=\"n\"\r\n\r\n";

#[test]
fn a_form_as_browsers_send_it() {
    let body = "--b\r\nContent-Disposition: form-data; name=\"text\"\r\n\r\nhello\r\n\
        --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a b.txt\"\r\n\
        Content-Type: text/plain\r\n\r\none\r\n--\r\n-b\r\n--b\r\n\
        Content-Disposition: form-data; name=\"none\"; filename=\"\"\r\n\r\n\r\n--b--\r\n";
    let expected = [
        part("text", None, "hello"),
        part("file", Some("a b.txt"), "one\r\n--\r\n-b"),
        part("none", Some(""), ""),
    ];
    assert_eq!(parse(body.as_bytes()), Ok((expected.to_vec(), true)));
}

#[test]
fn what_stands_around_the_parts_is_skipped() {
    for body in [
        format!("--b\r\n{FILE}x\r\n--b--"),
        format!("\r\n--b\r\n{FILE}x\r\n--b--\r\n"),
        format!("preamble\r\n--not\r\n--b\r\n{FILE}x\r\n--b--epilogue\r\n--b\r\n"),
        format!("-\r\n--b \t \r\n{FILE}x\r\n--b--"),
        format!("{}\r\n--b\r\n{FILE}x\r\n--b--", "p".repeat(MAX_PREAMBLE)),
    ] {
        assert_eq!(parse(body.as_bytes()), Ok((vec![part("f", Some("n"), "x")], true)), "{body}");
    }
}

#[test]
fn content_may_look_like_the_beginning_of_a_boundary() {
    for content in ["\r", "\r\n", "\r\n-", "\r\n--", "\r\r\n--\r\n\r\n--", "--b", "\n--b", "-"] {
        let body = format!("--b\r\n{FILE}{content}\r\n--b--");
        let expected = vec![part("f", Some("n"), content)];
        assert_eq!(parse(body.as_bytes()), Ok((expected, true)), "{content:?}");
    }
}

#[test]
fn a_form_that_is_cut_short_is_not_complete() {
    let body = format!("--b\r\n{FILE}x\r\n--b--");
    for end in 0..body.len() {
        let (parts, complete) = parse(&body.as_bytes()[..end]).expect("it may go on");
        assert!(!complete, "{end}");
        let ended = end >= body.len() - 2;
        assert_eq!(parts.iter().all(|part| part.3), parts.is_empty() || ended, "{end}");
    }
    assert_eq!(parse(b"--b--"), Ok((vec![], true)));
}

#[test]
fn file_names_as_clients_write_them() {
    for (filename, expected) in [
        (r#""plain.txt""#, "plain.txt"),
        ("token.txt", "token.txt"),
        (r#""C:\Users\me\a.txt""#, "a.txt"),
        (r#""/etc/passwd""#, "passwd"),
        (r#""../../a""#, "a"),
        (r#""dir/""#, ""),
        (r#""..""#, ".."),
        // Browsers, then curl, for the same name.
        (r#""a%22b.txt""#, "a\"b.txt"),
        (r#""a\"b.txt""#, "a\"b.txt"),
        (r#""100%25 %20 %0D%0a""#, "100%25 %20 \r\n"),
        ("\"\u{e4}\u{20ac}.txt\"", "\u{e4}\u{20ac}.txt"),
        (r#""a;b=c""#, "a;b=c"),
    ] {
        let answer = disposed(&format!("form-data; name=f; filename={filename}"));
        assert_eq!(answer, Ok(("f".to_owned(), Some(expected.to_owned()))), "{filename}");
    }
    let other = "FORM-DATA ; NAME=\"a\" ;; filename*=UTF-8''x.txt; x=\"\";";
    assert_eq!(disposed(other), Ok(("a".to_owned(), None)), "filename* counts for nothing");
}

#[test]
fn malformed_forms_are_refused() {
    let too_many = format!("X: y\r\n{}{FILE}", "X: y\r\n".repeat(MAX_PART_FIELDS));
    let long = format!("X: {}\r\n{FILE}", "x".repeat(MAX_PART_HEAD));
    for head in [
        "\r\n",
        "X: y\r\n\r\n",
        "Content-Disposition: form-data\r\n\r\n",
        "Content-Disposition: attachment; name=f\r\n\r\n",
        "Content-Disposition: form-data; filename=f\r\n\r\n",
        "Content-Disposition: form-data; name=\"f\r\n\r\n",
        "Content-Disposition: form-data; name=\"f\\\"\r\n\r\n",
        "Content-Disposition: form-data; name=f g\r\n\r\n",
        "Content-Disposition: form-data; name\r\n\r\n",
        "Content-Disposition: form-data; =f\r\n\r\n",
        "Content-Disposition: form-data, name=f\r\n\r\n",
        "Content-Disposition: form-data; name=f; name=g\r\n\r\n",
        "Content-Disposition: form-data; name=f; filename=a; filename=b\r\n\r\n",
        "Content-Disposition: form-data; name=f\r\nContent-Disposition: form-data; name=f\r\n\r\n",
        "Content-Disposition: form-data; name=f\r\nContent-Transfer-Encoding: base64\r\n\r\n",
        "Content-Disposition : form-data; name=f\r\n\r\n",
        "Content-Disposition: form-data;\r\n name=f\r\n\r\n",
        "Content-Disposition: form-data; name=f\0\r\n\r\n",
        &too_many,
        &long,
    ] {
        let body = format!("--b\r\n{head}\r\n--b--");
        assert!(parse(body.as_bytes()).is_err(), "{head}");
    }
    for body in [
        format!("--bb\r\n{FILE}x\r\n--b--"),
        format!("--b\n{FILE}x\r\n--b--"),
        format!("--b\r\n{FILE}x\r\n--bx"),
        format!("--b\r\n{FILE}x\r\n--b-x"),
        format!("--b\r\n{FILE}x\r\n--b --"),
        format!("--b{}\r\n{FILE}x\r\n--b--", " ".repeat(65)),
        format!("{}\r\n--b\r\n{FILE}x\r\n--b--", "p".repeat(MAX_PREAMBLE + 1)),
    ] {
        assert!(parse(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn the_number_of_parts_is_bounded() {
    let parts = |n: usize| format!("--b\r\n{FILE}\r\n").repeat(n) + "--b--";
    let decoder = Decoder::new(b"b").expect("a boundary");
    let whole = |n| arrive(decoder.clone(), parts(n).as_bytes(), []);
    assert_eq!(whole(MAX_PARTS).map(|(parts, _)| parts.len()), Ok(MAX_PARTS));
    assert!(whole(MAX_PARTS + 1).is_err());
}

#[test]
fn the_boundary_is_in_the_content_type() {
    let longest = "x".repeat(MAX_BOUNDARY);
    for (content_type, ok) in [
        ("multipart/form-data; boundary=b", true),
        ("Multipart/Form-Data;charset=utf-8 ; Boundary=\"b c\"", true),
        (&format!("multipart/form-data; boundary={longest}"), true),
        (&format!("multipart/form-data; boundary={longest}x"), false),
        ("multipart/form-data", false),
        ("multipart/form-data; boundary=", false),
        ("multipart/form-data; boundary=\"b \"", false),
        ("multipart/form-data; boundary=\"b*\"", false),
        ("multipart/form-data; boundary=a; boundary=b", false),
        ("multipart/form-data; boundary=\"b", false),
    ] {
        let decoder = Decoder::of(content_type.as_bytes()).expect("it is a form");
        assert_eq!(decoder.is_ok(), ok, "{content_type}");
    }
    for other in ["multipart/mixed; boundary=b", "text/plain", "", "multipart/form-datax"] {
        assert!(Decoder::of(other.as_bytes()).is_none(), "{other}");
    }
}

/// Bytes in which boundaries are nearly frequent.
fn content() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n--".to_vec()),
        Just(b"\r".to_vec()),
        Just(b"-a".to_vec()),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(piece, 0..8)
        .prop_map(|pieces| pieces.concat())
        .prop_filter("a sender chooses another boundary", |content| {
            !content.windows(5).any(|window| window == b"\r\n--b")
        })
}

proptest! {
    #[test]
    fn what_is_put_in_comes_out(
        contents in prop::collection::vec(content(), 0..5),
        cuts in prop::collection::vec(0usize..2000, 0..9),
    ) {
        let mut body = Vec::new();
        for content in &contents {
            body.extend_from_slice(format!("--b\r\n{FILE}").as_bytes());
            body.extend_from_slice(content);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(b"--b--\r\n");
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.sort_unstable();
        let decoder = Decoder::new(b"b").expect("a boundary");
        let (parts, complete) = arrive(decoder, &body, cuts).expect("it is well-formed");
        prop_assert!(complete);
        let got: Vec<_> = parts.into_iter().map(|part| part.2).collect();
        prop_assert_eq!(got, contents);
    }

    #[test]
    fn nothing_panics(body in content(), cuts in prop::collection::vec(0usize..200, 0..5)) {
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(body.len())).collect();
        cuts.sort_unstable();
        let decoder = Decoder::new(b"-a").expect("a boundary");
        prop_assert_eq!(arrive(decoder.clone(), &body, cuts), arrive(decoder, &body, []));
    }
}
