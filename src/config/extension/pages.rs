//! Extensions over file trees other than the common one: `error-pages` and `user-directories`.

use std::rc::Rc;

use medusa_core::sys::privileges::Keep;
use medusa_fs::{Persona, VirtualPath};
use medusa_http::extensions::error_pages::{ErrorPage, MAX_ERROR_PAGES};
use medusa_http::extensions::user_directories::UserDirectoriesOptions;
use medusa_http::extensions::{ErrorPages, UserDirectories};

use super::guards::statuses;
use super::{Around, Make, files};
use crate::config::kind::{Name, Number, Parsed, Text};
use crate::config::problem::Problem;
use crate::config::section::Section;

/// Where a process that confines itself finds the homes of users.
const HOMES: &str = "/home";

/// A path within a tree.
fn tree_path() -> Parsed<VirtualPath> {
    Parsed {
        what: "a path in the tree, as \"/404.html\"",
        parse: |text| {
            let parsed = VirtualPath::parse(text.as_bytes()).map_err(|e| e.to_string())?;
            if text.starts_with('/') { Ok(parsed.path) } else { Err("it needs a slash".to_owned()) }
        },
        write: |path| String::from_utf8_lossy(path.as_bytes()).into_owned(),
    }
}

pub(super) fn error_pages(section: &mut Section<'_>, around: &Around<'_>) -> Option<Make> {
    let named = Name { what: "a file tree", names: around.trees };
    let tree = section.needed("files", "The tree that has the pages.", &named);
    let pages = section.tables("page", "A page and what it is for.", MAX_ERROR_PAGES, |page| {
        let errors = page.needed("statuses", "The statuses that it is shown for.", &statuses());
        let path = page.needed("path", "Where it is.", &tree_path());
        let (statuses, path) = (errors?, path?);
        if *statuses.start() < 400 || *statuses.end() > 599 {
            page.refuse("statuses", "error pages are for statuses from 400 to 599");
        }
        Some(ErrorPage { statuses, path })
    });
    let pages: Option<Vec<_>> = pages.into_iter().collect();
    let (tree, pages, place) = (tree?, pages?, section.place("page"));
    Some(Box::new(move |build| {
        let pages = ErrorPages::new(build.tree(&tree), Persona::Process, pages);
        Ok(Rc::new(pages.map_err(|e| Problem::new(place, e.to_string()))?))
    }))
}

pub(super) fn user_directories(section: &mut Section<'_>, _: &Around<'_>) -> Option<Make> {
    let defaults = UserDirectoriesOptions::default();
    let directory = section.or(
        "directory",
        "The directory in a home that is served.",
        &Text("a directory beneath a home"),
        defaults.directory.to_string_lossy().into_owned(),
    );
    section.need(|needs| {
        needs.keep = needs.keep.max(Keep::Personas);
        needs.read.push(HOMES.into());
    });
    let min_uid = section.or(
        "min_uid",
        "Users with lower ids are not served; root never is.",
        &Number(1..=u64::from(u32::MAX)),
        u64::from(defaults.min_uid),
    );
    let files = files::options(section, &defaults.files);
    let options =
        UserDirectoriesOptions { directory: directory.into(), min_uid: min_uid as u32, files };
    // Told here, with all else that is wrong.
    if let Err(error) = UserDirectories::new(options.clone()) {
        section.refuse("directory", error.to_string());
        return None;
    }
    let place = section.place("directory");
    Some(Box::new(move |_| {
        let users = UserDirectories::new(options);
        Ok(Rc::new(users.map_err(|e| Problem::new(place, e.to_string()))?))
    }))
}
