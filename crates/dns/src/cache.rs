//! Answers that are kept, each for its time to live.
//!
//! The one design choice: there are two generations. What is found in the old one moves to the
//! young one; when the young one has half of the room, the old one is dropped as a whole and it
//! takes its place. So what is asked for stays, what is not asked for goes, and nothing is sorted,
//! whatever floods the cache.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

use crate::limits::ENTRY_BYTES;
use crate::wire::{Answer, Question};

/// Kept answers, by their questions.
pub struct Cache {
    young: Generation,
    old: Generation,
    settings: CacheSettings,
    figures: CacheFigures,
}

#[derive(Default)]
struct Generation {
    entries: HashMap<Box<[u8]>, Entry, RandomState>,
    bytes: usize,
}

/// How long answers are kept, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheSettings {
    /// Bytes of all answers together.
    pub bytes: usize,
    /// No answer is kept for less; 0 follows the answers.
    pub least: Duration,
    /// No answer is kept for longer (RFC 8767, section 4, says 7 days at most).
    pub most: Duration,
    /// No answer that there is nothing is kept for longer (RFC 2308, section 5).
    pub most_negative: Duration,
    /// How long past its end an answer may be given when no server answers (RFC 8767); 0 is never.
    pub stale: Duration,
}

impl Default for CacheSettings {
    fn default() -> Self {
        Self {
            bytes: 4 << 20,
            least: Duration::ZERO,
            most: Duration::from_secs(24 * 3600),
            most_negative: Duration::from_secs(3600),
            stale: Duration::from_secs(24 * 3600),
        }
    }
}

/// What became of lookups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CacheFigures {
    /// Found and fresh.
    pub hits: u64,
    /// Not there, or past their time.
    pub misses: u64,
    /// Given past their time, as no server answered.
    pub stale: u64,
    /// Put away to make room.
    pub evicted: u64,
}

/// A kept answer.
struct Entry {
    kept: Kept,
    /// Times that it was found.
    uses: u32,
}

/// A kept answer, with its times.
#[derive(Debug, Clone)]
pub struct Kept {
    /// The answer.
    pub answer: Rc<Answer>,
    /// When it came.
    pub since: Instant,
    /// How long it is fresh.
    pub life: Duration,
}

impl Kept {
    /// Whether it is fresh.
    pub fn is_fresh(&self, now: Instant) -> bool {
        now < self.since + self.life
    }

    /// What is left of its time, in seconds.
    pub fn left(&self, now: Instant) -> u32 {
        let left = (self.since + self.life).saturating_duration_since(now);
        u32::try_from(left.as_secs()).unwrap_or(u32::MAX)
    }

    /// Whether it is in the last tenth of its time.
    fn is_aged(&self, now: Instant) -> bool {
        now >= self.since + self.life * 9 / 10
    }
}

/// What the cache has for a question.
#[derive(Debug)]
pub enum Lookup {
    /// A fresh answer.
    Fresh {
        /// The answer.
        kept: Kept,
        /// It is asked for often and ends soon: time to ask anew.
        refresh: bool,
    },
    /// Nothing fresh.
    Missing,
}

/// Uses after which an answer is asked for anew before its end.
const HOT_USES: u32 = 2;

impl Cache {
    /// Makes an empty cache.
    pub fn new(settings: CacheSettings) -> Self {
        let (young, old, figures) = Default::default();
        Self { young, old, settings, figures }
    }

    /// Goes by other settings from now on.
    pub fn set(&mut self, settings: CacheSettings) {
        self.settings = settings;
        self.make_room(0);
    }

    /// Looks a question up.
    pub fn get(&mut self, question: &Question, now: Instant) -> Lookup {
        self.get_key(question.key(), now)
    }

    /// Looks a question up, in the form of [`Question::key`].
    pub(crate) fn get_key(&mut self, key: &[u8], now: Instant) -> Lookup {
        if !self.young.entries.contains_key(key)
            && let Some((key, entry)) = self.old.take(key)
        {
            self.make_room(cost(&key, &entry.kept));
            self.young.put(key, entry);
        }
        let Some(entry) = self.young.entries.get_mut(key) else {
            self.figures.misses += 1;
            return Lookup::Missing;
        };
        if !entry.kept.is_fresh(now) {
            self.figures.misses += 1;
            return Lookup::Missing;
        }
        self.figures.hits += 1;
        entry.uses = entry.uses.saturating_add(1);
        let kept = entry.kept.clone();
        Lookup::Fresh { refresh: entry.uses >= HOT_USES && kept.is_aged(now), kept }
    }

    /// An answer that is past its time, but not for too long.
    pub fn get_stale(&mut self, question: &Question, now: Instant) -> Option<Kept> {
        let key = question.key();
        let entry = self.young.entries.get(key).or_else(|| self.old.entries.get(key))?;
        let kept = entry.kept.clone();
        if now >= kept.since + kept.life + self.settings.stale {
            return None;
        }
        self.figures.stale += 1;
        Some(kept)
    }

    /// Keeps an answer, unless it is to be used only once; gives it with its times.
    pub fn put(&mut self, question: &Question, answer: Answer, now: Instant) -> Kept {
        let negative = answer.is_negative();
        let settings = &self.settings;
        let most = if negative { settings.most_negative.min(settings.most) } else { settings.most };
        let life = Duration::from_secs(answer.life.into()).max(settings.least).min(most);
        let kept = Kept { answer: Rc::new(answer), since: now, life };
        if !life.is_zero() {
            let key: Box<[u8]> = question.key().into();
            let room = cost(&key, &kept);
            self.young.take(&key);
            self.old.take(&key);
            if room <= self.settings.bytes / 2 {
                self.make_room(room);
                self.young.put(key, Entry { kept: kept.clone(), uses: 0 });
            }
        }
        kept
    }

    /// Takes an answer that is past its time for good for so long.
    pub(crate) fn revive(
        &mut self,
        question: &Question,
        kept: Kept,
        now: Instant,
        life: Duration,
    ) -> Kept {
        let generation = [&mut self.young, &mut self.old]
            .into_iter()
            .find(|generation| generation.entries.contains_key(question.key()));
        let entry = generation.and_then(|generation| generation.entries.get_mut(question.key()));
        let kept = Kept { since: now, life, ..kept };
        if let Some(entry) = entry {
            entry.kept = kept.clone();
        }
        kept
    }

    /// Forgets what is kept for a question; says whether there was anything.
    pub fn remove(&mut self, question: &Question) -> bool {
        let young = self.young.take(question.key());
        self.old.take(question.key()).or(young).is_some()
    }

    /// Forgets everything; says how many answers that were.
    pub fn clear(&mut self) -> usize {
        let n = self.len();
        (self.young, self.old) = Default::default();
        n
    }

    /// Answers that are kept.
    pub fn len(&self) -> usize {
        self.young.entries.len() + self.old.entries.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take.
    pub fn bytes(&self) -> usize {
        self.young.bytes + self.old.bytes
    }

    /// What became of lookups.
    pub fn figures(&self) -> CacheFigures {
        self.figures
    }

    /// The kept answers, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (Question, &Kept)> {
        let all = self.young.entries.iter().chain(&self.old.entries);
        all.map(|(key, entry)| (Question::of_key(key), &entry.kept))
    }

    /// Makes room for so many bytes in the young generation.
    fn make_room(&mut self, bytes: usize) {
        if self.young.bytes + bytes > self.settings.bytes / 2 {
            self.figures.evicted += self.old.entries.len() as u64;
            self.old = std::mem::take(&mut self.young);
        }
        if self.old.bytes > self.settings.bytes {
            // The settings have become smaller.
            self.figures.evicted += self.old.entries.len() as u64;
            self.old = Generation::default();
        }
    }
}

impl Generation {
    fn put(&mut self, key: Box<[u8]>, entry: Entry) {
        self.bytes += cost(&key, &entry.kept);
        self.entries.insert(key, entry);
    }

    fn take(&mut self, key: &[u8]) -> Option<(Box<[u8]>, Entry)> {
        let (key, entry) = self.entries.remove_entry(key)?;
        self.bytes -= cost(&key, &entry.kept);
        Some((key, entry))
    }
}

/// Bytes that an entry counts for.
fn cost(key: &[u8], kept: &Kept) -> usize {
    ENTRY_BYTES + key.len() + kept.answer.bytes()
}
