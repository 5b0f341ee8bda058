//! What a listing knows of a directory: all names in one piece of memory, and a small row each.
//!
//! The one design choice: sorting needs all entries at once, and memory is paid for each, so a row
//! is [`ROW_BYTES`] and what can be computed from it is.

use std::cmp::Ordering;

use crate::files::query::{Order, Sort};
use crate::limits::{LISTING_ENTRIES, LISTING_TABLE_BYTES};

/// The entries of a directory.
#[derive(Debug, Default)]
pub(super) struct Table {
    names: Vec<u8>,
    rows: Vec<Row>,
    /// There are more entries than a table may have.
    pub(super) more: bool,
}

/// One entry.
#[derive(Clone, Copy, Debug)]
struct Row {
    at: u32,
    len: u16,
    directory: bool,
    size: u64,
    modified: i64,
}

/// Bytes of one row.
pub(super) const ROW_BYTES: usize = size_of::<Row>();
const _: () = assert!(ROW_BYTES == 24);

/// One entry as it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a [u8],
    pub(super) directory: bool,
    /// In bytes; of a directory it says nothing.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
}

impl Table {
    /// Adds an entry, or notes that there are more than fit.
    pub(super) fn push(&mut self, entry: Entry<'_>) {
        let bytes = self.bytes() + entry.name.len() + ROW_BYTES;
        if self.rows.len() >= LISTING_ENTRIES || bytes > LISTING_TABLE_BYTES {
            self.more = true;
            return;
        }
        let (Ok(at), Ok(len)) = (u32::try_from(self.names.len()), entry.name.len().try_into())
        else {
            return;
        };
        self.names.extend_from_slice(entry.name);
        let Entry { directory, size, modified, .. } = entry;
        self.rows.push(Row { at, len, directory, size, modified });
    }

    /// Bytes that the entries take.
    pub(super) fn bytes(&self) -> usize {
        self.names.len() + self.rows.len() * ROW_BYTES
    }

    /// How many entries there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The entry at a place.
    pub(super) fn get(&self, place: usize) -> Option<Entry<'_>> {
        self.rows.get(place).map(|row| entry(&self.names, row))
    }

    /// Directories and files, and the bytes of all files.
    pub(super) fn sums(&self) -> (usize, usize, u64) {
        let directories = self.rows.iter().filter(|row| row.directory).count();
        let files = self.rows.iter().filter(|row| !row.directory);
        let bytes = files.fold(0, |sum: u64, row| sum.saturating_add(row.size));
        (directories, self.rows.len() - directories, bytes)
    }

    /// Puts the entries in order: directories first, then as asked, and by name where that makes
    /// no difference.
    pub(super) fn sort(&mut self, sort: Sort, order: Order) {
        let Self { names, rows, .. } = self;
        rows.sort_unstable_by(|a, b| {
            let (a, b) = (entry(names, a), entry(names, b));
            let by_name = || by_name(a.name, b.name);
            let asked = match sort {
                Sort::Name => by_name(),
                // What a directory's own size says is no use to anybody.
                Sort::Size if a.directory => Ordering::Equal,
                Sort::Size => a.size.cmp(&b.size),
                Sort::Time => a.modified.cmp(&b.modified),
            };
            let asked = if order == Order::Descending { asked.reverse() } else { asked };
            b.directory.cmp(&a.directory).then(asked).then_with(by_name)
        });
    }
}

fn entry<'a>(names: &'a [u8], row: &Row) -> Entry<'a> {
    let at = row.at as usize;
    let name = names.get(at..at + usize::from(row.len)).unwrap_or_default();
    Entry { name, directory: row.directory, size: row.size, modified: row.modified }
}

/// Compares names as people do: numbers by what they are worth, letters without regard to case.
/// Names that look alike so are told apart by their bytes.
fn by_name(a: &[u8], b: &[u8]) -> Ordering {
    let (mut left, mut right) = (a, b);
    loop {
        let (Some(&first), Some(&second)) = (left.first(), right.first()) else {
            return left.len().cmp(&right.len()).then_with(|| a.cmp(b));
        };
        let compared = if first.is_ascii_digit() && second.is_ascii_digit() {
            let numbers = (number(&mut left), number(&mut right));
            numbers.0.len().cmp(&numbers.1.len()).then_with(|| numbers.0.cmp(numbers.1))
        } else {
            (left, right) = (&left[1..], &right[1..]);
            first.to_ascii_lowercase().cmp(&second.to_ascii_lowercase())
        };
        if compared != Ordering::Equal {
            return compared;
        }
    }
}

/// Takes the digits in front off, and gives them without leading zeros: of two such numbers the
/// longer one is larger.
fn number<'a>(text: &mut &'a [u8]) -> &'a [u8] {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    *text = rest;
    let zeros = digits.iter().position(|&b| b != b'0').unwrap_or(digits.len());
    &digits[zeros..]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(entries: &[(&str, bool, u64, i64)]) -> Table {
        let mut table = Table::default();
        for &(name, directory, size, modified) in entries {
            table.push(Entry { name: name.as_bytes(), directory, size, modified });
        }
        table
    }

    fn names(table: &Table) -> Vec<String> {
        let name = |place| String::from_utf8_lossy(table.get(place).unwrap().name).into_owned();
        (0..table.len()).map(name).collect()
    }

    #[test]
    fn entries_are_sorted_as_asked() {
        let mut all = table(&[
            ("b", false, 3, 30),
            ("A", false, 3, 10),
            ("z", true, 9, 5),
            ("c", false, 1, 20),
            ("y", true, 1, 7),
        ]);
        for (sort, order, expected) in [
            (Sort::Name, Order::Ascending, ["y", "z", "A", "b", "c"]),
            (Sort::Name, Order::Descending, ["z", "y", "c", "b", "A"]),
            (Sort::Size, Order::Ascending, ["y", "z", "c", "A", "b"]),
            (Sort::Size, Order::Descending, ["y", "z", "A", "b", "c"]),
            (Sort::Time, Order::Ascending, ["z", "y", "A", "c", "b"]),
            (Sort::Time, Order::Descending, ["y", "z", "b", "c", "A"]),
        ] {
            all.sort(sort, order);
            assert_eq!(names(&all), expected, "{sort:?} {order:?}");
        }
        assert_eq!(all.sums(), (2, 3, 7));
    }

    #[test]
    fn numbers_are_compared_by_what_they_are_worth() {
        let sorted = ["a", "a1", "A2", "a10", "a010b", "a10b", "a11", "b", "x99999999999999999999"];
        for (place, a) in sorted.iter().enumerate() {
            for b in &sorted[place + 1..] {
                assert_eq!(by_name(a.as_bytes(), b.as_bytes()), Ordering::Less, "{a} {b}");
            }
        }
    }

    #[test]
    fn a_table_is_bounded_by_entries_and_by_bytes() {
        let mut many = Table::default();
        let entry = Entry { name: b"n", directory: false, size: 0, modified: 0 };
        for _ in 0..LISTING_ENTRIES {
            many.push(entry);
        }
        assert!(!many.more);
        many.push(entry);
        assert!(many.more && many.len() == LISTING_ENTRIES);
        let mut long = Table::default();
        let name = vec![b'n'; u16::MAX.into()];
        while !long.more {
            long.push(Entry { name: &name, ..entry });
        }
        assert!(long.bytes() <= LISTING_TABLE_BYTES && long.len() > 10);
    }

    /// Names in which digits, zeros and both cases are frequent.
    fn name() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(
            prop_oneof![Just(b'0'), Just(b'1'), Just(b'a'), Just(b'A'), any::<u8>()],
            0..6,
        )
    }

    proptest! {
        #[test]
        fn names_have_one_order(a in name(), b in name(), c in name()) {
            prop_assert_eq!(by_name(&a, &b), by_name(&b, &a).reverse());
            prop_assert_eq!(by_name(&a, &b) == Ordering::Equal, a == b);
            if by_name(&a, &b).is_lt() && by_name(&b, &c).is_lt() {
                prop_assert_eq!(by_name(&a, &c), Ordering::Less);
            }
        }
    }
}
