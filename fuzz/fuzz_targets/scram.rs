//! Logins by SCRAM: no message of a client panics the server, none without the password is right, and
//! no message of a server panics a client.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_auth::scram::{Client, ClientFirst, Record};

/// A record whose password nobody has.
const RECORD: &str = "SCRAM-SHA-256$4096:c2l4dGVlbiBieXRlcyEhIQ==$\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:\
                      AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

fuzz_target!(|text: &str| {
    let (first, last) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(first) = ClientFirst::read(first) {
        let record: Record = RECORD.parse().expect("a record");
        let (challenge, message) = first.challenge(record, "theirs");
        assert!(message.contains("theirs,s="));
        assert!(challenge.verify(last).is_err());
    }
    if let Ok(record) = first.parse::<Record>() {
        assert_eq!(record.to_string().parse(), Ok(record));
    }
    let (client, _) = Client::new("ann", "ours".to_owned());
    if let Ok((proof, _)) = client.answer(first, "secret") {
        assert!(proof.verify(last).is_err());
    }
});
