//! What is kept, for how long, and what goes.

use std::time::{Duration, Instant};

use super::{Record, answer, nothing, question};
use crate::cache::{Cache, CacheSettings, Lookup};
use crate::wire::{Answer, Kind, Question};
use domain::base::iana::Rcode;

const SECOND: Duration = Duration::from_secs(1);

fn put(cache: &mut Cache, name: &str, ttl: u32, now: Instant) -> Question {
    let asked = question(name, Kind::A);
    let message = answer(&asked.message(1, 1232), &[Record::Ip(name, ttl, "192.0.2.1")]);
    cache.put(&asked, Answer::read(&message, 1, &asked).expect("an answer"), now);
    asked
}

fn is_fresh(cache: &mut Cache, asked: &Question, now: Instant) -> bool {
    matches!(cache.get(asked, now), Lookup::Fresh { .. })
}

#[test]
fn the_time_to_live_is_kept() {
    let (mut cache, now) = (Cache::new(CacheSettings::default()), Instant::now());
    let asked = put(&mut cache, "a.example", 30, now);
    assert!(is_fresh(&mut cache, &asked, now + 29 * SECOND));
    assert!(!is_fresh(&mut cache, &asked, now + 30 * SECOND));
    assert_eq!((cache.figures().hits, cache.figures().misses), (1, 1));
    assert!(cache.get_stale(&asked, now + 31 * SECOND).is_some());
    assert!(cache.get_stale(&asked, now + Duration::from_hours(25)).is_none());
    let once = put(&mut cache, "once.example", 0, now);
    assert!(!is_fresh(&mut cache, &once, now), "it is for one use");
}

#[test]
fn long_times_are_cut_and_short_ones_lengthened_if_asked_to() {
    let settings =
        CacheSettings { least: 5 * SECOND, most: 50 * SECOND, ..CacheSettings::default() };
    let (mut cache, now) = (Cache::new(settings), Instant::now());
    let short = put(&mut cache, "short.example", 0, now);
    let long = put(&mut cache, "long.example", u32::MAX, now);
    assert!(is_fresh(&mut cache, &short, now + 4 * SECOND));
    assert!(!is_fresh(&mut cache, &long, now + 50 * SECOND));
}

#[test]
fn that_there_is_nothing_is_kept_for_less() {
    let settings = CacheSettings { most_negative: 20 * SECOND, ..CacheSettings::default() };
    let (mut cache, now) = (Cache::new(settings), Instant::now());
    let asked = question("no.example", Kind::A);
    let message = nothing(&asked.message(1, 1232), Rcode::NXDOMAIN, 600);
    cache.put(&asked, Answer::read(&message, 1, &asked).expect("an answer"), now);
    assert!(is_fresh(&mut cache, &asked, now + 19 * SECOND));
    assert!(!is_fresh(&mut cache, &asked, now + 20 * SECOND));
}

#[test]
fn a_flood_does_not_grow_it_nor_drive_out_what_is_in_use() {
    let settings = CacheSettings { bytes: 64 << 10, ..CacheSettings::default() };
    let (mut cache, now) = (Cache::new(settings), Instant::now());
    let used = put(&mut cache, "used.example", 3600, now);
    let unused = put(&mut cache, "unused.example", 3600, now);
    for n in 0..10_000 {
        put(&mut cache, &format!("n{n}.example"), 3600, now);
        assert!(cache.bytes() <= 64 << 10);
        assert!(is_fresh(&mut cache, &used, now), "it is asked for all the time");
    }
    assert!(!is_fresh(&mut cache, &unused, now));
    assert!(cache.figures().evicted > 9000);
    assert!(cache.clear() > 10 && cache.is_empty() && cache.bytes() == 0);
}

#[test]
fn what_is_hot_is_asked_for_before_its_end() {
    let (mut cache, now) = (Cache::new(CacheSettings::default()), Instant::now());
    let asked = put(&mut cache, "hot.example", 100, now);
    for _ in 0..5 {
        assert!(matches!(cache.get(&asked, now), Lookup::Fresh { refresh: false, .. }));
    }
    let late = now + 95 * SECOND;
    assert!(matches!(cache.get(&asked, late), Lookup::Fresh { refresh: true, .. }));
    let cold = put(&mut cache, "cold.example", 100, now);
    assert!(matches!(cache.get(&cold, late), Lookup::Fresh { refresh: false, .. }));
}
