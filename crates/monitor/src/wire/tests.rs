//! Messages in both directions, whole and in pieces.

use proptest::prelude::*;

use super::*;

fn lines_of(input: &[u8], cuts: &[usize], limit: usize) -> Result<Vec<Vec<u8>>, LineTooLong> {
    let mut buffer = LineBuffer::new(limit);
    let mut lines = Vec::new();
    let mut from = 0;
    for until in cuts.iter().copied().chain([input.len()]) {
        buffer.feed(&input[from..until]);
        from = until;
        while let Some(line) = buffer.next_line()? {
            lines.push(line);
        }
    }
    assert_eq!(
        buffer.pending(),
        input.len() - input.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
    );
    Ok(lines)
}

#[test]
fn lines_are_cut_alike_wherever_the_input_is_split() {
    let input = b"a\r\n\nbc\rd\r\nlast";
    let whole = lines_of(input, &[], 5).expect("short lines");
    assert_eq!(whole, [&b"a"[..], b"", b"bc\rd"]);
    for at in 0..=input.len() {
        assert_eq!(lines_of(input, &[at], 5).as_ref(), Ok(&whole), "{at}");
    }
    let all: Vec<usize> = (0..input.len()).collect();
    assert_eq!(lines_of(input, &all, 5), Ok(whole));
}

#[test]
fn a_line_that_is_too_long_is_refused_wherever_it_is_split() {
    for (input, fits) in [
        (&b"12345\r\n"[..], true),
        (b"12345\n", true),
        (b"12345\r", true),
        (b"123456", false),
        (b"123456\n", false),
        (b"12345\r6", false),
        (b"12345\r\r\n", false),
    ] {
        for at in 0..=input.len() {
            assert_eq!(lines_of(input, &[at], 5).is_ok(), fits, "{} at {at}", input.escape_ascii());
        }
    }
}

#[test]
fn an_idle_buffer_owns_nothing() {
    let mut buffer = LineBuffer::new(10);
    buffer.feed(b"abc\n");
    assert!(matches!(buffer.next_line(), Ok(Some(_))));
    assert_eq!(buffer.next_line(), Ok(None));
    assert_eq!(format!("{buffer:?}"), format!("{:?}", LineBuffer::new(10)));
}

fn written(message: &FromServer) -> String {
    let mut out = Vec::new();
    message.write(&mut out);
    String::from_utf8(out).expect("JSON")
}

#[test]
fn messages_look_as_the_documentation_says() {
    let hello = FromServer::Hello(Hello {
        server: "medusa 0.1.0".to_owned(),
        version: VERSION,
        login: LoginKind::ScramSha256,
    });
    assert_eq!(
        written(&hello),
        "{\"hello\":{\"server\":\"medusa 0.1.0\",\"version\":1,\"login\":\"scram-sha-256\"}}\n"
    );
    let done = FromServer::Done(Done { id: 1, values: vec![Value::Integer(2)], ..Done::default() });
    assert_eq!(written(&done), "{\"done\":{\"id\":1,\"values\":[2],\"ms\":0}}\n");
    let run = FromClient::read(br#"{"run":{"id":1,"code":"1 + 1"}}"#).expect("a message");
    assert_eq!(run, FromClient::Run(Run { id: 1, code: "1 + 1".to_owned(), rows: None }));
}

#[test]
fn what_is_misspelt_is_told_to_clients_and_passed_over_by_them() {
    let e = FromClient::read(br#"{"run":{"id":1,"cod":"x"}}"#).expect_err("misspelt").to_string();
    assert!(e.contains("unknown field `cod`"), "{e}");
    let e = FromClient::read(br#"{"runn":{"id":1}}"#).expect_err("misspelt").to_string();
    assert!(e.contains("unknown variant `runn`"), "{e}");
    let newer = br#"{"done":{"id":7,"values":[],"colour":"red"}}"#;
    assert!(matches!(FromServer::read(newer), Ok(FromServer::Done(Done { id: 7, .. }))));
    let newer = br#"{"notice":{"kind":"weather","text":"rain"}}"#;
    let Ok(FromServer::Notice(notice)) = FromServer::read(newer) else { panic!("it is read") };
    assert_eq!(notice.kind, NoticeKind::Other);
}

#[test]
fn a_value_may_be_so_deep_and_no_deeper() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        serde_json::from_str::<Value>(&format!("{open}{close}"))
    };
    assert!(nested(VALUE_DEPTH).is_ok());
    assert!(nested(VALUE_DEPTH + 1).is_err());
}

#[test]
fn numbers_that_json_has_no_word_for_are_texts() {
    let odd = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(Value::Number);
    assert_eq!(serde_json::to_string(&odd[..]).expect("written"), r#"["nan","inf","-inf"]"#);
}

#[test]
fn roles_are_ordered_and_have_names() {
    assert!(Role::Look < Role::Operate && Role::Operate < Role::All);
    for role in Role::EACH {
        assert_eq!(role.to_string().parse(), Ok(role));
    }
    assert!("root".parse::<Role>().is_err());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Boolean),
        any::<i64>().prop_map(Value::Integer),
        (-1e300..1e300).prop_map(Value::Number),
        ".*".prop_map(Value::Text),
    ];
    leaf.prop_recursive(6, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::List),
            prop::collection::vec((".*", inner), 0..5).prop_map(Value::Map),
        ]
    })
}

proptest! {
    #[test]
    fn results_come_back_as_they_were_written(values in prop::collection::vec(value(), 0..4), id: u64) {
        let message = FromServer::Done(Done { id, values, more: true, ..Done::default() });
        let mut line = Vec::new();
        message.write(&mut line);
        prop_assert_eq!(memchr::memchr(b'\n', &line), Some(line.len() - 1));
        prop_assert_eq!(FromServer::read(&line), Ok(message));
    }

    #[test]
    fn requests_come_back_as_they_were_written(id: u64, code: String, at: usize, rows: Option<u32>) {
        for message in [
            FromClient::Run(Run { id, code: code.clone(), rows }),
            FromClient::Complete(Complete { id, code: code.clone(), at }),
            FromClient::Login(LoginData { data: code.clone() }),
            FromClient::Proof(LoginData { data: code.clone() }),
            FromClient::Cancel(Cancel { id, run: id }),
            FromClient::More(More { id, rows }),
            FromClient::Resume(Resume { id, session: code.clone(), kept: rows.map(|n| n.to_string()) }),
        ] {
            let mut line = Vec::new();
            message.write(&mut line);
            prop_assert_eq!(FromClient::read(&line), Ok(message));
        }
    }

    #[test]
    fn any_bytes_are_a_message_or_an_error(line: Vec<u8>) {
        let _ = FromClient::read(&line);
        let _ = FromServer::read(&line);
    }

    #[test]
    fn a_conversation_reads_the_same_however_it_is_split(
        codes in prop::collection::vec(any::<String>(), 1..4),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let sent: Vec<_> = codes.into_iter().zip(1..)
            .map(|(code, id)| FromClient::Run(Run { id, code, rows: None })).collect();
        let mut bytes = Vec::new();
        for message in &sent { message.write(&mut bytes); }
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let lines = lines_of(&bytes, &cuts, CLIENT_LINE_BYTES).expect("short lines");
        let heard: Result<Vec<_>, _> = lines.iter().map(|line| FromClient::read(line)).collect();
        prop_assert_eq!(heard, Ok(sent));
    }
}
