//! Messages: what is taken, and what is not.

use domain::base::iana::Rcode;
use hickory_proto::op::Message as Other;
use proptest::prelude::*;

use super::{Record, answer, ip, nothing, question};
use crate::wire::{Answer, Fault, Found, Kind, Question};

#[test]
fn a_question_is_read_by_others() {
    let message = question("Www.Example", Kind::AAAA).message(77, 1232);
    let read = Other::from_vec(&message).expect("a message");
    assert_eq!(read.metadata.id, 77);
    assert!(read.metadata.recursion_desired);
    assert_eq!(read.queries[0].to_string(), "www.example. IN AAAA");
    assert_eq!(read.edns.as_ref().map(hickory_proto::op::Edns::max_payload), Some(1232));
}

#[test]
fn names_that_are_none_are_refused() {
    for name in ["", "a b", "a..b", ".a", "ä.example", "a\\.b", &"a".repeat(64), &"a.".repeat(128)]
    {
        assert!(Question::new(name, Kind::A).is_err(), "{name}");
    }
    assert_eq!(question("a.example.", Kind::A), question("A.example", Kind::A));
    assert_eq!(Question::reverse(ip("192.0.2.1")).name(), "1.2.0.192.in-addr.arpa");
}

#[test]
fn addresses_are_found_behind_aliases() {
    let asked = question("a.example", Kind::A);
    let message = answer(
        &asked.message(7, 1232),
        &[
            Record::Ip("c.example", 50, "192.0.2.1"),
            Record::Alias("b.example", 20, "c.example"),
            Record::Alias("A.example", 30, "b.example"),
            Record::Ip("other.example", 40, "192.0.2.9"),
            Record::Ip("c.example", 50, "192.0.2.2"),
        ],
    );
    let read = Answer::read(&message, 7, &asked).expect("an answer");
    assert_eq!(read.found, Found::Addresses([ip("192.0.2.1"), ip("192.0.2.2")].into()));
    assert_eq!(read.life, 20);
    assert_eq!(read.lives.len(), 5);
}

#[test]
fn an_alias_alone_says_what_to_ask_next() {
    let asked = question("a.example", Kind::A);
    let message = answer(&asked.message(7, 1232), &[Record::Alias("a.example", 30, "b.example")]);
    let read = Answer::read(&message, 7, &asked).expect("an answer");
    assert_eq!(read.found, Found::Alias(question("b.example", Kind::A)));
}

#[test]
fn aliases_in_a_circle_and_too_many_are_refused() {
    let asked = question("a.example", Kind::A);
    let circle =
        [Record::Alias("a.example", 30, "b.example"), Record::Alias("b.example", 30, "a.example")];
    let message = answer(&asked.message(7, 1232), &circle);
    assert_eq!(Answer::read(&message, 7, &asked), Err(Fault::Malformed));
}

#[test]
fn answers_to_something_else_are_not_taken() {
    let asked = question("a.example", Kind::A);
    let good = answer(&asked.message(7, 1232), &[Record::Ip("a.example", 9, "192.0.2.1")]);
    let read = |message: &[u8], id| Answer::read(message, id, &asked).map(|_| ());
    assert_eq!(read(&good, 7), Ok(()));
    assert_eq!(read(&good, 8), Err(Fault::Foreign), "another id");
    assert_eq!(read(&asked.message(7, 1232), 7), Err(Fault::Foreign), "a question");
    for other in [question("b.example", Kind::A), question("a.example", Kind::AAAA)] {
        let message = answer(&other.message(7, 1232), &[]);
        assert_eq!(read(&message, 7), Err(Fault::Foreign), "{other}");
    }
    assert_eq!(read(&good[..11], 7), Err(Fault::Foreign), "no message");
    let mut cut = good.clone();
    cut[2] |= 2;
    assert_eq!(read(&cut, 7), Err(Fault::Truncated));
    let mut failed = good.clone();
    failed[3] = 2;
    assert_eq!(read(&failed, 7), Err(Fault::Refused));
}

#[test]
fn a_compressed_name_that_points_at_itself_is_refused() {
    let asked = question("a.example", Kind::A);
    let message = answer(&asked.message(7, 1232), &[Record::Ip("a.example", 9, "192.0.2.1")]);
    // Behind the head and the question.
    let owner = 12 + 11 + 4;
    let behind = owner + 11;
    let message = [&message[..owner], &[0xc0, owner as u8], &message[behind..]].concat();
    assert_eq!(Answer::read(&message, 7, &asked), Err(Fault::Malformed));
}

#[test]
fn that_there_is_nothing_is_known_for_as_long_as_the_zone_says() {
    let asked = question("a.example", Kind::A);
    for (code, found) in [(Rcode::NXDOMAIN, Found::NoName), (Rcode::NOERROR, Found::Nothing)] {
        let message = nothing(&asked.message(7, 1232), code, 60);
        let read = Answer::read(&message, 7, &asked).expect("an answer");
        assert_eq!((read.found, read.life), (found, 60));
    }
    // Without a zone's word it is not kept.
    let read = Answer::read(&answer(&asked.message(7, 1232), &[]), 7, &asked).expect("an answer");
    assert_eq!((read.found, read.life), (Found::Nothing, 0));
}

proptest! {
    #[test]
    fn no_bytes_upset_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let asked = question("a.example", Kind::A);
        let _ = Answer::read(&bytes, 7, &asked);
    }

    #[test]
    fn a_changed_answer_is_read_or_refused(at in 0_usize..120, byte: u8) {
        let asked = question("a.example", Kind::A);
        let mut message = answer(&asked.message(7, 1232), &[
            Record::Alias("a.example", 30, "b.example"),
            Record::Ip("b.example", 9, "192.0.2.1"),
        ]);
        let at = at % message.len();
        message[at] = byte;
        if let Ok(read) = Answer::read(&message, 7, &asked) {
            for life in &*read.lives {
                prop_assert!(usize::from(*life) + 6 <= read.message.len());
            }
        }
    }

    #[test]
    fn what_is_kept_of_an_answer_is_read_by_others(
        ips in proptest::collection::vec(any::<[u8; 4]>(), 0..20),
        ttl in 0_u32..100_000,
    ) {
        let asked = question("a.example", Kind::A);
        let texts: Vec<_> = ips.iter().map(|ip| std::net::Ipv4Addr::from(*ip).to_string()).collect();
        let records: Vec<_> =
            texts.iter().map(|text| Record::Ip("a.example", ttl, text)).collect();
        let message = answer(&asked.message(7, 1232), &records);
        let read = Answer::read(&message, 7, &asked).expect("an answer");
        let other = Other::from_vec(&read.message).expect("a message");
        prop_assert_eq!(other.answers.len(), ips.len());
        for (record, at) in other.answers.iter().zip(&*read.lives) {
            let at = usize::from(*at);
            let bytes = <[u8; 4]>::try_from(&read.message[at..at + 4]).expect("four");
            prop_assert_eq!(u32::from_be_bytes(bytes), record.ttl);
        }
    }
}
