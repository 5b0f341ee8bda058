//! Lines of the monitor: however they are split they are the same, and what is a message reads the
//! same when it is written again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use medusa_fuzz::{Choices, within};
use medusa_monitor::wire::{FromClient, FromServer, LineBuffer, LineTooLong};

/// A limit that inputs of the fuzzer reach.
const LIMIT: usize = 200;

fn lines(input: &[u8], cuts: &[usize]) -> (Vec<Vec<u8>>, Option<LineTooLong>) {
    let mut buffer = LineBuffer::new(LIMIT);
    let mut lines = Vec::new();
    let mut from = 0;
    for until in cuts.iter().copied().chain([input.len()]) {
        buffer.feed(&input[from..until]);
        from = until;
        loop {
            match buffer.next_line() {
                Ok(Some(line)) => lines.push(line),
                Ok(None) => break,
                Err(e) => return (lines, Some(e)),
            }
        }
    }
    (lines, None)
}

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let cuts = choices.cuts();
    let input = choices.rest();
    let whole = lines(input, &[]);
    assert_eq!(lines(input, &within(cuts, input.len())), whole);
    for line in whole.0 {
        assert!(line.len() <= LIMIT);
        if let Ok(message) = FromClient::read(&line) {
            let mut again = Vec::new();
            message.write(&mut again);
            assert_eq!(FromClient::read(&again), Ok(message));
        }
        if let Ok(message) = FromServer::read(&line) {
            let mut again = Vec::new();
            message.write(&mut again);
            assert_eq!(FromServer::read(&again), Ok(message));
        }
    }
});
