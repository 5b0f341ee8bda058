//! Extensions that others stand behind: `compress`, `header`, `access` and
//! `basic-auth`.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use medusa_auth::{Checker, CheckerSettings};
use medusa_http::Compress;
use medusa_http::extensions::access::{AccessRule, Action, MAX_ACCESS_RULES, Who};
use medusa_http::extensions::basic_auth::{BasicAuthOptions, MAX_REALM};
use medusa_http::extensions::headers::{
    Change, HeaderRule, MAX_HEADER_RULES, MAX_HEADER_VALUE, On,
};
use medusa_http::extensions::{Access, BasicAuth, Headers};

use super::{Around, Make, methods};
use crate::config::kind::{Bytes, Choice, DAY, FilePath, List, Parsed, Text, Time};
use crate::config::problem::Problem;
use crate::config::section::Section;
use crate::life::directory_of;

/// The addresses in one rule.
pub(super) const MAX_ADDRESSES: usize = 1024;

/// Users that one guard names.
const MAX_USERS: usize = 4096;

/// How a field is changed, before its value is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Add,
    Set,
    Remove,
}

#[expect(clippy::unnecessary_wraps, reason = "as all that read extensions")]
pub(super) fn compress(_: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    Some(Box::new(|build| Ok(Rc::new(Compress::new(build.coder.clone())))))
}

/// Statuses of replies: one, or a range.
pub(super) fn statuses() -> Parsed<RangeInclusive<u16>> {
    Parsed {
        what: "a status or a range of them, as \"404\" or \"500-599\"",
        parse: |text| {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let status =
                |text: &str| text.parse().ok().filter(|status| (100..=999).contains(status));
            match (status(first), status(last)) {
                (Some(first), Some(last)) if first <= last => Ok(first..=last),
                _ => Err("a status has three digits, and a range begins with the lower".to_owned()),
            }
        },
        write: |statuses| match (statuses.start(), statuses.end()) {
            (first, last) if first == last => first.to_string(),
            (first, last) => format!("{first}-{last}"),
        },
    }
}

pub(super) fn header(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let rules =
        section.tables("change", "A change of one header field.", MAX_HEADER_RULES, |change| {
            let rule = header_rule(change)?;
            // Told here, where it stands.
            match Headers::new(vec![rule.clone()]) {
                Ok(_) => Some(rule),
                Err(error) => {
                    change.refuse("name", error.to_string());
                    None
                }
            }
        });
    let rules: Option<Vec<_>> = rules.into_iter().collect();
    let (rules, place) = (rules?, section.place("change"));
    Some(Box::new(move |_| {
        let headers = Headers::new(rules);
        Ok(Rc::new(headers.map_err(|e| Problem::new(place, e.to_string()))?))
    }))
}

fn header_rule(section: &mut Section<'_>) -> Option<HeaderRule> {
    let name = section.needed("name", "The field's name.", &Text("the name of a field"));
    let how = section.or(
        "how",
        "How it is changed: added to those of its name, set in their place, or removed.",
        &Choice(&[("add", How::Add), ("set", How::Set), ("remove", How::Remove)]),
        How::Set,
    );
    let value = section.or("value", "The value.", &Bytes(MAX_HEADER_VALUE), String::new());
    let on_request = section.or(
        "on",
        "Where it is changed.",
        &Choice(&[("reply", false), ("request", true)]),
        false,
    );
    let statuses = section.or(
        "statuses",
        "For replies: those with these statuses only.",
        &statuses(),
        100..=999,
    );
    // The effective configuration shows an empty one.
    if how == How::Remove && !value.is_empty() {
        section.refuse("value", "what is removed has no value");
    }
    Some(HeaderRule {
        on: if on_request { On::Request } else { On::Reply(statuses) },
        name: name?,
        change: match how {
            How::Add => Change::Add(value),
            How::Set => Change::Set(value),
            How::Remove => Change::Remove,
        },
    })
}

pub(super) fn basic_auth(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let file = section.needed("passwords", "The password file.", &FilePath);
    let realm = section.or(
        "realm",
        "What the browser shows to whoever is asked for a password.",
        &Bytes(MAX_REALM),
        "files".to_owned(),
    );
    let users = section.or(
        "users",
        "Who may pass. Left empty: everybody who is in the file.",
        &List(Text("the name of a user"), 0..=MAX_USERS),
        Vec::new(),
    );
    let times = CheckerSettings::default();
    let right = section.or(
        "remember",
        "How long a password that was right is remembered.",
        &Time(Duration::ZERO..=DAY),
        times.right,
    );
    let wrong = section.or(
        "remember_wrong",
        "How long a password that was wrong is remembered.",
        &Time(Duration::ZERO..=DAY),
        times.wrong,
    );
    if let Some(file) = &file {
        // The directory, since the file is replaced when it is changed.
        section.need(|needs| needs.read.push(directory_of(file)));
    }
    let (file, settings) = (file?, CheckerSettings { right, wrong });
    let make = move || {
        let checker = Checker::new(file.clone(), settings.clone())?;
        let (realm, users) = (realm.clone(), users.clone());
        BasicAuth::new(BasicAuthOptions { realm, checker, users })
    };
    // Told here, with all else that is wrong.
    if let Err(error) = make() {
        section.refuse("passwords", error);
        return None;
    }
    let place = section.place("passwords");
    Some(Box::new(move |_| Ok(Rc::new(make().map_err(|e| Problem::new(place, e))?))))
}

/// Whom a rule is about.
pub(super) fn who() -> Parsed<Who> {
    Parsed {
        what: "\"all\", \"unix\", an address or a network",
        parse: |text| text.parse::<Who>().map_err(|e| e.to_string()),
        write: |who| match who {
            Who::All => "all".to_owned(),
            Who::Unix => "unix".to_owned(),
            Who::Net(net) => net.to_string(),
        },
    }
}

pub(super) fn access(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    const WORDS: &[(&str, Action)] = &[("allow", Action::Allow), ("deny", Action::Deny)];
    let default =
        section.or("default", "What is done where no rule fits.", &Choice(WORDS), Action::Deny);
    let rules = section.tables("rule", "A rule.", MAX_ACCESS_RULES, |rule| {
        let action = rule.needed("action", "What is done.", &Choice(WORDS));
        let from = rule.or(
            "from",
            "To whom: \"all\", \"unix\" (processes on this machine, over a Unix-domain socket), \
             addresses, or networks as \"10.0.0.0/8\".",
            &List(who(), 1..=MAX_ADDRESSES),
            vec![Who::All],
        );
        let methods = rule.maybe("methods", "For which methods. Left out: all.", &methods());
        let (action, methods) = (action?, methods.unwrap_or_default());
        let rule = |from| AccessRule { action, from, methods: methods.clone() };
        Some(from.into_iter().map(rule).collect::<Vec<_>>())
    });
    let rules: Option<Vec<_>> = rules.into_iter().collect();
    match Access::new(rules?.concat(), default) {
        Ok(access) => Some(Box::new(move |_| Ok(Rc::new(access)))),
        Err(error) => {
            section.refuse("rule", error.to_string());
            None
        }
    }
}
