//! The two ways of sending a file give the same bytes: the system's, and the portable fallback.
#![allow(missing_docs)]

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;

use medusa_core::sys::{COPY_BYTES, copy_file, send, send_file};

type Way = fn(&UnixStream, &File, u64, usize) -> io::Result<usize>;

fn by_system(to: &UnixStream, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    send_file(to.as_fd(), file, offset, count)
}

fn by_copying(to: &UnixStream, file: &File, offset: u64, count: usize) -> io::Result<usize> {
    copy_file(file, offset, count, |bytes| send(to.as_fd(), &[IoSlice::new(bytes)], false))
}

/// What arrives when all of the file from `offset` on is sent, at most `count` bytes a call.
fn arrives(way: Way, file: &File, offset: u64, count: usize) -> Vec<u8> {
    let (to, mut from) = UnixStream::pair().expect("a pair of sockets");
    let reading = std::thread::spawn(move || {
        let mut all = Vec::new();
        from.read_to_end(&mut all).expect("the other end is open");
        all
    });
    let mut at = offset;
    loop {
        match way(&to, file, at, count).expect("the other end reads") {
            0 => break,
            n => at += n as u64,
        }
    }
    drop(to);
    reading.join().expect("no panic")
}

#[test]
fn both_ways_send_the_same_bytes_and_stop_at_the_end() {
    let mut file = tempfile::tempfile().expect("a temporary file");
    let content: Vec<u8> = (0..3 * COPY_BYTES + 7).map(|i| (i % 251) as u8).collect();
    file.write_all(&content).expect("room on the disk");
    for (offset, count) in [(0, 1 << 30), (1, COPY_BYTES + 1), (100_000, 1000)] {
        let expected = &content[offset..];
        for way in [by_system as Way, by_copying] {
            assert!(arrives(way, &file, offset as u64, count) == expected, "{offset} {count}");
        }
    }
    for way in [by_system as Way, by_copying] {
        assert!(arrives(way, &file, content.len() as u64, 10).is_empty());
        assert!(arrives(way, &file, 1 << 40, 10).is_empty());
    }
}

#[test]
fn both_ways_say_that_a_full_socket_would_block() {
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(&vec![b'x'; 4 * 1024 * 1024]).expect("room on the disk");
    for way in [by_system as Way, by_copying] {
        let (to, _from) = UnixStream::pair().expect("a pair of sockets");
        to.set_nonblocking(true).expect("a socket option");
        let full = (0..1000).find_map(|_| way(&to, &file, 0, 1024 * 1024).err());
        assert_eq!(full.expect("nobody reads").kind(), io::ErrorKind::WouldBlock);
    }
}
