//! Rotation and reopening, under a clock of the test's own.

use std::fs;
use std::num::NonZeroU64;
use std::sync::Mutex;

use proptest::prelude::*;

use super::*;

const DAY: u64 = 86_400;

fn queue() -> Queue {
    Queue::new("test".to_owned(), None)
}

fn opened(path: &Path, rule: &str) -> LogFile {
    let rotate = (!rule.is_empty()).then(|| rule.parse().expect("a rule"));
    LogFile::open(path, Arc::new(Mutex::new(rotate))).expect("it opens")
}

/// Writes everything as the writing thread does.
fn write(log: &mut LogFile, bytes: &[u8], now: Duration, queue: &Queue) {
    let mut done = 0;
    while done < bytes.len() {
        done += log.write(&bytes[done..], now, queue).expect("there is space");
    }
}

/// What is in the old files and the new one, oldest first.
fn files(path: &Path) -> Vec<String> {
    let mut all = vec![fs::read_to_string(path).unwrap_or_default()];
    for n in 1.. {
        match fs::read_to_string(format!("{}.{n}", path.display())) {
            Ok(text) => all.push(text),
            Err(_) => break,
        }
    }
    all.reverse();
    all
}

fn long_after() -> Duration {
    // Later than the time of any file of this test.
    Duration::from_secs(40_000 * DAY)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_line_is_lost_cut_or_out_of_order(
        lines in prop::collection::vec(0_usize..80, 1..60),
        buffers in prop::collection::vec(1_usize..8, 1..20),
        limit in 1_u64..200,
    ) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let mut log = opened(&path, &format!("{limit},keep=1000"));
        let lines: Vec<String> = lines.iter().enumerate()
            .map(|(n, len)| format!("{n} {}\n", "x".repeat(*len))).collect();
        let mut rest = &lines[..];
        let mut sizes = buffers.iter().cycle();
        let queue = queue();
        while !rest.is_empty() {
            let (part, after) = rest.split_at(rest.len().min(*sizes.next().expect("a cycle")));
            write(&mut log, part.concat().as_bytes(), Duration::ZERO, &queue);
            rest = after;
        }
        let files = files(&path);
        prop_assert_eq!(files.concat(), lines.concat());
        for file in &files {
            prop_assert!(file.ends_with('\n'));
            prop_assert!(file.len() as u64 <= limit || file.lines().count() == 1);
        }
        let rotations = queue.figures.rotations.load(Ordering::Relaxed);
        prop_assert_eq!(rotations as usize, files.len() - 1);
        // No file is begun while the next line fits into the one before.
        for pair in files.windows(2) {
            let next = pair[1].lines().next().map_or(0, |line| line.len() + 1);
            prop_assert!(pair[0].len() + next > limit as usize);
        }
    }
}

#[test]
fn the_oldest_files_make_room() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let queue = queue();
    let mut log = opened(&path, "2,keep=3");
    for line in ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n"] {
        write(&mut log, line.as_bytes(), Duration::ZERO, &queue);
    }
    assert_eq!(files(&path), ["3\n", "4\n", "5\n", "6\n"]);
    // A number that is free ends the shifting.
    fs::remove_file(directory.path().join("log.2")).expect("it is there");
    write(&mut log, b"7\n", Duration::ZERO, &queue);
    assert_eq!(files(&path), ["3\n", "5\n", "6\n", "7\n"]);
    let mut log = opened(&path, "2,keep=0");
    write(&mut log, b"8\n", Duration::ZERO, &queue);
    assert_eq!(files(&path).last().map(String::as_str), Some("8\n"));
    assert_eq!(fs::read_to_string(directory.path().join("log.1")).expect("it stays"), "6\n");
}

#[test]
fn a_day_ends_at_midnight_whether_or_not_somebody_writes() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    fs::write(&path, "of the day when this test runs\n").expect("it is written");
    let queue = queue();
    let mut log = opened(&path, "daily");
    let noon = long_after() + Duration::from_secs(DAY / 2);
    write(&mut log, b"noon\n", noon, &queue);
    write(&mut log, b"evening\n", noon + Duration::from_secs(DAY / 3), &queue);
    assert_eq!(files(&path), ["of the day when this test runs\n", "noon\nevening\n"]);
    let midnight = long_after() + Duration::from_secs(DAY);
    assert_eq!(log.next_due(), Some(midnight));
    log.due(midnight, &queue);
    assert_eq!(log.next_due(), None, "an empty file is not rotated");
    write(&mut log, b"morning\n", midnight + Duration::from_secs(1), &queue);
    assert_eq!(files(&path)[1..], ["noon\nevening\n", "morning\n"]);
    // The clock was set back: what was said at a later time stays where it is.
    write(&mut log, b"yesterday\n", noon, &queue);
    assert_eq!(files(&path)[2..], ["morning\nyesterday\n"]);
}

#[test]
fn a_file_that_somebody_moved_is_left_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, moved) = (directory.path().join("log"), directory.path().join("moved"));
    let queue = queue();
    let mut log = opened(&path, "4");
    write(&mut log, b"1\n", Duration::ZERO, &queue);
    fs::rename(&path, &moved).expect("it is there");
    write(&mut log, b"2\n", Duration::ZERO, &queue);
    write(&mut log, b"3\n", Duration::ZERO, &queue);
    assert_eq!(fs::read_to_string(&moved).expect("it stays"), "1\n2\n");
    assert_eq!(files(&path), ["3\n"]);
    fs::rename(&path, &moved).expect("it is there");
    log.reopen().expect("it can be made");
    write(&mut log, b"4\n", Duration::ZERO, &queue);
    assert_eq!(fs::read_to_string(&moved).expect("it stays"), "3\n");
    assert_eq!(files(&path), ["4\n"]);
    // Another process has begun the new one already.
    fs::rename(&path, &moved).expect("it is there");
    fs::write(&path, "5\n").expect("it is written");
    write(&mut log, b"6\n7\n", Duration::ZERO, &queue);
    assert_eq!(fs::read_to_string(&moved).expect("it stays"), "4\n6\n");
    assert_eq!(files(&path), ["5\n7\n"]);
    assert_eq!(queue.figures.rotations.load(Ordering::Relaxed), 0);
}

#[test]
fn a_file_that_cannot_be_rotated_grows_on_and_is_tried_again() {
    let directory = tempfile::tempdir().expect("a directory");
    let (path, obstacle) = (directory.path().join("log"), directory.path().join("log.1"));
    fs::create_dir(&obstacle).expect("it is made");
    let queue = queue();
    let mut log = opened(&path, "2,keep=1");
    let now = long_after();
    write(&mut log, b"1\n2\n3\n", now, &queue);
    assert_eq!(fs::read_to_string(&path).expect("it is there"), "1\n2\n3\n");
    assert_eq!(queue.figures.errors.load(Ordering::Relaxed), 1);
    fs::remove_dir(&obstacle).expect("it is there");
    write(&mut log, b"4\n", now + Duration::from_secs(1), &queue);
    write(&mut log, b"5\n", now + ROTATE_RETRY, &queue);
    assert_eq!(files(&path), ["1\n2\n3\n4\n", "5\n"]);
}

#[test]
fn a_new_rule_counts_from_the_next_opening() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let rule = Rule::default();
    let mut log = LogFile::open(&path, rule.clone()).expect("it opens");
    let queue = queue();
    write(&mut log, b"1\n2\n", Duration::ZERO, &queue);
    let size = NonZeroU64::new(4);
    *rule.lock().expect("no panic") = Some(Rotate { size, every: None, keep: 1 });
    log.reopen().expect("it is there");
    write(&mut log, b"3\n", Duration::ZERO, &queue);
    assert_eq!(files(&path), ["1\n2\n", "3\n"]);
}

#[test]
fn a_log_is_not_for_everybody_to_read() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    opened(&path, "");
    let mode = fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o7777 & !MODE, 0);
}

#[test]
fn a_line_that_was_written_in_part_is_completed_before_the_file_is_rotated() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("log");
    let queue = queue();
    let mut log = opened(&path, "2,90s");
    write(&mut log, b"a l", Duration::ZERO, &queue);
    write(&mut log, b"ine\nb\n", long_after(), &queue);
    assert_eq!(files(&path), ["a line\n", "b\n"]);
}
