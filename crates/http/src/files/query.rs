//! What a client may ask of a directory behind the question mark.
//!
//! The one design choice: names that mean nothing here are somebody else's and are passed over;
//! a value that means nothing is an error, with a sentence that says what there is.

use crate::wire::Reject;

/// What is asked of a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Query {
    pub(crate) sort: Sort,
    pub(crate) order: Order,
    /// The form of the listing, where it is not left to the request's `Accept`.
    pub(crate) format: Option<Format>,
    /// The directory's content is wanted, not its listing.
    pub(crate) archive: Option<ArchiveKind>,
}

/// What a listing is sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    #[default]
    Name,
    Size,
    Time,
}

/// Which end of a listing comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    #[default]
    Ascending,
    Descending,
}

/// The form of a listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    Html,
    Json,
}

/// The form of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ArchiveKind {
    Tar,
    Zip,
}

impl Query {
    /// Parses the query of a request; of a name that comes twice the last counts.
    pub(crate) fn parse(raw: &[u8]) -> Result<Self, Reject> {
        let mut query = Self::default();
        for pair in raw.split(|&b| b == b'&') {
            let split = pair.iter().position(|&b| b == b'=').unwrap_or(pair.len());
            let (name, value) = (&pair[..split], pair.get(split + 1..).unwrap_or_default());
            match name {
                b"sort" => {
                    query.sort = match value {
                        b"name" => Sort::Name,
                        b"size" => Sort::Size,
                        b"time" => Sort::Time,
                        _ => return Err(Reject::bad("`sort` is one of name, size and time")),
                    }
                }
                b"order" => {
                    query.order = match value {
                        b"asc" => Order::Ascending,
                        b"desc" => Order::Descending,
                        _ => return Err(Reject::bad("`order` is one of asc and desc")),
                    }
                }
                b"format" => {
                    query.format = match value {
                        b"html" => Some(Format::Html),
                        b"json" => Some(Format::Json),
                        _ => return Err(Reject::bad("`format` is one of html and json")),
                    }
                }
                b"archive" => {
                    query.archive = match value {
                        b"tar" => Some(ArchiveKind::Tar),
                        b"zip" => Some(ArchiveKind::Zip),
                        _ => return Err(Reject::bad("`archive` is one of tar and zip")),
                    }
                }
                _ => {}
            }
        }
        Ok(query)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_checked_and_the_rest_passed_over() {
        let parse = |text: &str| Query::parse(text.as_bytes());
        let plain = Query::default();
        for text in ["", "&&", "x", "x=1&=&y", "sorted=x", "Sort=x"] {
            assert_eq!(parse(text).ok(), Some(plain), "{text}");
        }
        let sorted = Query { sort: Sort::Size, order: Order::Descending, ..plain };
        assert_eq!(parse("sort=size&order=desc").ok(), Some(sorted));
        assert_eq!(parse("sort=name&v=1&order=desc&sort=size").ok(), Some(sorted));
        let json = Query { format: Some(Format::Json), ..plain };
        assert_eq!(parse("format=html&format=json").ok(), Some(json));
        let zip = Query { archive: Some(ArchiveKind::Zip), ..plain };
        assert_eq!(parse("archive=zip").ok(), Some(zip));
        for text in ["sort", "sort=", "sort=date", "order=up", "format=xml", "archive=rar"] {
            let reject = parse(text).expect_err(text);
            assert_eq!(reject.status, 400);
            assert!(reject.reason.contains("is one of"), "{}", reject.reason);
        }
    }
}
