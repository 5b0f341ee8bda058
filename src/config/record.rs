//! What was asked of a configuration and what the answers were: printed as the effective
//! configuration, or as the reference page.

use std::fmt::Write as _;

use crate::config::section::toml_key;

/// Columns of a comment.
const COLUMNS: usize = 96;

/// One table: its keys and the tables below it, in the order in which they were asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Record(pub(crate) Vec<Item>);

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) what: What,
}

#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Values are TOML.
    Key { expects: String, value: Option<String>, default: Option<String>, needed: bool },
    /// `[name]`
    Table(Record),
    /// `[[name]]`
    Tables(Vec<Record>),
    /// `[name.KEY]`
    Named(Vec<(String, Record)>),
    /// More keys of the same table, if it is of this variant.
    Variant(Record),
}

impl Record {
    /// The effective configuration: TOML that is read as what it came from. Keys with their
    /// defaults say so, keys that are not set are comments.
    pub(crate) fn configuration(&self) -> String {
        let mut out = String::new();
        print(&mut out, self, "");
        out
    }

    /// The reference page's sections, in Markdown.
    pub(crate) fn reference(&self) -> String {
        let mut out = String::new();
        describe(&mut out, self, "");
        out
    }
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("a text takes everything");
    out.push('\n');
}

/// Writes a comment, broken between words.
fn comment(out: &mut String, text: &str) {
    let mut written = 0;
    for word in text.split(' ') {
        if written > 0 && written + word.len() >= COLUMNS {
            out.push('\n');
            written = 0;
        }
        out.push_str(if written == 0 { "# " } else { " " });
        out.push_str(word);
        written += word.len() + 1;
    }
    out.push('\n');
}

fn print(out: &mut String, record: &Record, title: &str) {
    for Item { name, doc, what } in &record.0 {
        let What::Key { expects, value, default, needed } = what else { continue };
        let more = match (value, default) {
            _ if *needed => ".".to_owned(),
            (Some(value), Some(default)) if value == default => "; this is the default.".to_owned(),
            (_, Some(default)) => format!("; default {default}."),
            (Some(_), None) => "; may be left out.".to_owned(),
            (None, None) => "; left out.".to_owned(),
        };
        comment(out, doc);
        comment(out, &format!("Takes {expects}{more}"));
        match value {
            Some(value) => line(out, format_args!("{name} = {value}")),
            None => line(out, format_args!("# {name} =")),
        }
    }
    let below = |name: &str| {
        if title.is_empty() { name.to_owned() } else { format!("{title}.{name}") }
    };
    let mut table = |doc: &str, head: String, record: &Record, title: &str| {
        out.push('\n');
        comment(out, doc);
        line(out, format_args!("{head}"));
        print(out, record, title);
    };
    for Item { name, doc, what } in &record.0 {
        let title = below(name);
        match what {
            What::Key { .. } | What::Variant(_) => {}
            What::Table(inner) => table(doc, format!("[{title}]"), inner, &title),
            What::Tables(list) => {
                for inner in list {
                    table(doc, format!("[[{title}]]"), inner, &title);
                }
            }
            What::Named(list) => {
                for (key, inner) in list {
                    let title = format!("{title}.{}", toml_key(key));
                    table(doc, format!("[{title}]"), inner, &title);
                }
            }
        }
    }
}

fn describe(out: &mut String, record: &Record, title: &str) {
    keys(out, record);
    for Item { name, doc, what } in &record.0 {
        let title = if title.is_empty() { (*name).to_owned() } else { format!("{title}.{name}") };
        match what {
            What::Key { .. } => {}
            What::Variant(inner) => {
                line(out, format_args!("\n### `\"{name}\"`\n\n{doc}"));
                keys(out, inner);
                describe_tables(out, inner, title.trim_end_matches(name).trim_end_matches('.'));
            }
            What::Table(inner) => section(out, &format!("[{title}]"), doc, inner, &title),
            What::Tables(list) => {
                for inner in list {
                    section(out, &format!("[[{title}]]"), doc, inner, &title);
                }
            }
            What::Named(list) => {
                for (key, inner) in list {
                    let title = format!("{title}.{key}");
                    section(out, &format!("[{title}]"), doc, inner, &title);
                }
            }
        }
    }
}

/// Describes the tables below a variant.
fn describe_tables(out: &mut String, record: &Record, title: &str) {
    let tables = record.0.iter().filter(|item| !matches!(item.what, What::Key { .. }));
    describe(out, &Record(tables.cloned().collect()), title);
}

fn section(out: &mut String, head: &str, doc: &str, record: &Record, title: &str) {
    line(out, format_args!("\n## `{head}`\n\n{doc}"));
    describe(out, record, title);
}

fn keys(out: &mut String, record: &Record) {
    let mut first = true;
    for Item { name, doc, what } in &record.0 {
        let What::Key { expects, default, needed, .. } = what else { continue };
        if std::mem::take(&mut first) {
            line(out, format_args!("\n| key | is | takes | default |\n|---|---|---|---|"));
        }
        let default = match default {
            Some(default) => format!("`{default}`"),
            None if *needed => "must be there".to_owned(),
            None => "none".to_owned(),
        };
        let cell = |text: &str| text.replace('|', "\\|");
        line(
            out,
            format_args!("| `{name}` | {} | {} | {} |", cell(doc), cell(expects), cell(&default)),
        );
    }
}
