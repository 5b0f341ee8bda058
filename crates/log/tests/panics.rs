//! The messages of panics, in a process of their own.
#![allow(missing_docs)]

use std::process::Command;

use medusa_log::Logs;

#[test]
fn a_panic_is_said_on_standard_error_even_if_it_ends_the_process() {
    const HERE: &str = "MEDUSA_TEST_PANICS";
    if std::env::var_os(HERE).is_some() {
        let logs = Logs::new().expect("standard error");
        logs.start().expect("a thread");
        logs.take_panics();
        let thread = std::thread::Builder::new().name("a thread".to_owned());
        let thread = thread.spawn(|| panic!("the first\x1b\n{}", "line")).expect("it starts");
        assert!(thread.join().is_err());
        std::panic::panic_any("the second");
    }
    let test = std::env::current_exe().expect("this program");
    let output = Command::new(test)
        .args(["--nocapture", "--exact"])
        .arg("a_panic_is_said_on_standard_error_even_if_it_ends_the_process")
        .envs([(HERE, "1"), ("RUST_BACKTRACE", "0")])
        .output()
        .expect("it runs");
    let said = String::from_utf8(output.stderr).expect("text");
    let place = format!("thread 'a thread' panicked at {}:", file!());
    assert!(said.starts_with(&place), "{said}");
    assert!(said.contains(":\nthe first\\u{1b}\nline\nthread '"), "{said}");
    assert!(said.ends_with(":\nthe second\n"), "{said}");
    assert!(!output.status.success());
}
