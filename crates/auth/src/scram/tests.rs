//! Logins: the one of the RFC, and all the ways in which one fails.

use proptest::prelude::*;

use super::*;

const SALT: &[u8] = b"sixteen bytes!!!";

fn record() -> Record {
    Record::with("secret", SALT, 4096)
}

/// Holds a login up to the client's proof.
fn begun(name: &str, password: &str, record: Record) -> (Challenge, Proof, String) {
    let (client, first) = Client::new(name, "ours".to_owned());
    let first = ClientFirst::read(&first).expect("a first message");
    assert_eq!(first.name(), name);
    let (challenge, message) = first.challenge(record, "theirs");
    let (proof, last) = client.answer(&message, password).expect("a challenge");
    (challenge, proof, last)
}

#[test]
fn the_login_of_rfc_7677() {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").expect("a salt");
    let record = Record::with("pencil", &salt, 4096);
    let (client, first) = Client::new("user", "rOprNGfwEbeRWgbNEkqO".to_owned());
    assert_eq!(first, "n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let first = ClientFirst::read(&first).expect("a first message");
    let (challenge, message) = first.challenge(record, "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
    assert_eq!(
        message,
        "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    );
    let (proof, last) = client.answer(&message, "pencil").expect("a challenge");
    assert_eq!(
        last,
        "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
         p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    );
    let server = challenge.verify(&last).expect("the right password");
    assert_eq!(server, "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    assert_eq!(proof.verify(&server), Ok(()));
}

#[test]
fn a_wrong_password_is_wrong_and_so_is_a_user_who_does_not_exist() {
    let (challenge, _, last) = begun("ann", "guess", record());
    assert_eq!(challenge.verify(&last), Err(ScramError::Wrong));
    let nobody = Record { iterations: 4096, ..Record::of_nobody("eve", &[7; 32]) };
    let (challenge, _, last) = begun("eve", "secret", nobody);
    assert_eq!(challenge.verify(&last), Err(ScramError::Wrong));
}

#[test]
fn nobody_has_a_salt_of_his_own_that_stays() {
    let of = |name| Record::of_nobody(name, &[7; 32]);
    assert_eq!(of("eve"), of("eve"));
    assert_ne!(of("eve").salt, of("eva").salt);
    assert_ne!(of("eve").salt, Record::of_nobody("eve", &[8; 32]).salt);
    let real = Record::new("x").expect("random numbers");
    assert_eq!((of("eve").salt.len(), of("eve").iterations), (real.salt.len(), real.iterations));
}

#[test]
fn a_proof_is_good_for_one_exchange() {
    let (challenge, _, last) = begun("ann", "secret", record());
    challenge.verify(&last).expect("the first time");
    let first = ClientFirst::read("n,,n=ann,r=ours").expect("the same first message");
    let (challenge, _) = first.clone().challenge(record(), "other");
    assert_eq!(challenge.verify(&last), Err(ScramError::Nonce));
    // Whoever changes the nonce has not signed it.
    let (challenge, _) = first.challenge(record(), "other");
    assert_eq!(challenge.verify(&last.replace("theirs", "other")), Err(ScramError::Wrong));
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    let (_, proof, _) = begun("ann", "secret", record());
    let (challenge, _, last) = begun("ann", "else", Record::with("else", SALT, 4096));
    let of_another = challenge.verify(&last).expect("its own password");
    assert_eq!(proof.verify(&of_another), Err(ScramError::Server));
    assert_eq!(proof.verify("v="), Err(ScramError::Server));
    assert_eq!(proof.verify("e=other-error"), Err(ScramError::Malformed));
}

#[test]
fn a_client_takes_no_weak_or_endless_or_recorded_challenge() {
    let answer = |message: &str| {
        let (client, _) = Client::new("ann", "ours".to_owned());
        client.answer(message, "secret").map(|_| ()).unwrap_err()
    };
    assert_eq!(answer("r=ourstheirs,s=AAAA,i=4095"), ScramError::Iterations);
    assert_eq!(answer("r=ourstheirs,s=AAAA,i=4294967295"), ScramError::Iterations);
    assert_eq!(answer("r=ours,s=AAAA,i=4096"), ScramError::Nonce);
    assert_eq!(answer("r=others,s=AAAA,i=4096"), ScramError::Nonce);
    assert_eq!(answer("e=unknown-user"), ScramError::Malformed);
}

#[test]
fn what_is_not_offered_is_refused() {
    let read = |message: &str| ClientFirst::read(message).map(|_| ()).unwrap_err();
    assert_eq!(read("p=tls-unique,,n=ann,r=x"), ScramError::Unsupported);
    assert_eq!(read("n,a=bob,n=ann,r=x"), ScramError::Unsupported);
    assert_eq!(read("n,,m=ext,n=ann,r=x"), ScramError::Unsupported);
    for malformed in
        ["", "n", "n,,", "n,,n=,r=x", "n,,n=ann", "n,,n=ann,r=", "n,,n=a=b,r=x", "x,,n=a,r=x"]
    {
        assert_eq!(read(malformed), ScramError::Malformed, "{malformed}");
    }
    assert_eq!(read(&format!("n,,n={},r=x", "a".repeat(MAX_MESSAGE))), ScramError::Malformed);
    // Who says `y` must go on saying it, or somebody in between has changed it.
    let (challenge, _) =
        ClientFirst::read("y,,n=ann,r=ours").expect("fine").challenge(record(), "x");
    let (_, _, last) = begun("ann", "secret", record());
    assert_eq!(challenge.verify(&last), Err(ScramError::Unsupported));
}

#[test]
fn records_are_written_as_other_servers_write_them() {
    let text = record().to_string();
    assert!(text.starts_with("SCRAM-SHA-256$4096:c2l4dGVlbiBieXRlcyEhIQ==$"), "{text}");
    assert_eq!(text.parse(), Ok(record()));
    assert_eq!(format!("{:?}", record()), "Record { iterations: 4096, .. }");
    for bad in ["", "SCRAM-SHA-256$", "SCRAM-SHA-256$4095:AAAA$AAAA:AAAA", "md5abc"] {
        assert_eq!(bad.parse::<Record>(), Err(BadRecord), "{bad}");
    }
    assert_eq!(text.replace("$4096:", "$40:").parse::<Record>(), Err(BadRecord));
    assert_eq!(text.replace('=', "").parse::<Record>(), Err(BadRecord));
}

#[test]
fn passwords_are_brought_into_one_form() {
    // A soft hyphen and the two ways to write é (RFC 4013).
    assert_eq!(Record::with("I\u{ad}X", SALT, 4096), Record::with("IX", SALT, 4096));
    assert_eq!(Record::with("e\u{301}", SALT, 4096), Record::with("\u{e9}", SALT, 4096));
    // What may not be in a password is taken as it is.
    assert_ne!(Record::with("a\u{7}", SALT, 4096), Record::with("a", SALT, 4096));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_name_and_password_log_in(name in ".+", password: String) {
        let nonce = nonce().expect("random numbers");
        let (client, first) = Client::new(&name, nonce.clone());
        let first = ClientFirst::read(&first).expect("a first message");
        prop_assert_eq!(first.name(), &name);
        let record = Record::with(&password, SALT, 4096);
        let (challenge, message) = first.challenge(record, &nonce);
        let (proof, last) = client.answer(&message, &password).expect("a challenge");
        let server = challenge.verify(&last).expect("the right password");
        prop_assert_eq!(proof.verify(&server), Ok(()));
    }

    #[test]
    fn any_change_of_a_proof_makes_it_wrong(at: prop::sample::Index, to in "[ -~]") {
        let (challenge, _, last) = begun("ann", "secret", record());
        let at = at.index(last.len());
        let changed = format!("{}{to}{}", &last[..at], &last[at + 1..]);
        prop_assume!(changed != last);
        prop_assert!(challenge.verify(&changed).is_err());
    }

    #[test]
    fn any_text_is_a_message_or_an_error(text: String) {
        let _ = ClientFirst::read(&text);
        let _ = text.parse::<Record>();
        let (client, _) = Client::new("ann", "ours".to_owned());
        let _ = client.answer(&text, "x");
        let (challenge, proof, _) = begun("ann", "secret", record());
        let _ = proof.verify(&text);
        prop_assert!(challenge.verify(&text).is_err());
    }
}
