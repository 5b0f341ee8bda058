//! `use = "files"`, and what all extensions that serve files can be told.

use std::rc::Rc;

use medusa_fs::Persona;
use medusa_http::{CacheRule, Coding, Files, FilesOptions, MediaTypes};

use super::{Around, Make};
use crate::config::coding::coding;
use crate::config::kind::{Bytes, FilePath, Flag, List, Name, Number, Size, Text};
use crate::config::section::Section;

/// Names of files that may stand for a directory.
const MAX_INDEXES: usize = 16;
/// Media types in one section.
const MAX_TYPES: usize = 1024;
/// Rules for Cache-Control in one section.
const MAX_CACHE_RULES: usize = 256;
/// Archives on their way to clients that may be asked for.
const MAX_ARCHIVES: u64 = 4096;

/// Media types by the ending of a name, as the system has them.
const SYSTEM_TYPES: &str = "/etc/mime.types";

pub(super) fn files(section: &mut Section<'_>, around: &Around<'_>) -> Option<Make> {
    let named = Name { what: "a file tree", names: around.trees };
    let tree = section.needed("files", "The tree that is served.", &named);
    let options = options(section, &FilesOptions::default());
    let tree = tree?;
    Some(Box::new(move |build| {
        let tree = build.tree(&tree);
        let files = Files::with_coder(tree, Persona::Process, options, build.coder.clone());
        Ok(Rc::new(files))
    }))
}

/// Reads how files are served.
pub(super) fn options(section: &mut Section<'_>, defaults: &FilesOptions) -> FilesOptions {
    let text = |name: &Vec<u8>| String::from_utf8_lossy(name).into_owned();
    let index = section.or(
        "index",
        "The names of files that stand for a directory; the first that is there does.",
        &List(Text("the name of a file"), 0..=MAX_INDEXES),
        defaults.index.iter().map(text).collect(),
    );
    let listings = section.or(
        "listings",
        "Whether a directory without such a file is listed.",
        &Flag,
        defaults.listings,
    );
    let archives = section.or(
        "archives",
        "Whether a directory that may be listed may also be had as a tar or zip archive, with all \
         that is beneath it.",
        &Flag,
        defaults.archives,
    );
    let upload = section.or(
        "upload",
        "Whether listings have a form to upload files; `upload` before this extension takes them.",
        &Flag,
        defaults.upload,
    );
    let cache_bytes = section.or(
        "cache",
        "Bytes of small files that are kept in memory.",
        &Size(0..=1 << 40),
        defaults.cache_bytes as u64,
    );
    let coded_bytes = section.or(
        "coded_cache",
        "Bytes of files coded on the fly that are kept in memory; with 0 each request codes anew.",
        &Size(0..=1 << 40),
        defaults.coded_bytes as u64,
    );
    let neighbours = section.or(
        "precompressed",
        "The codings in which files beside a file (`x.css.br`) stand for it, the most wanted \
         first. One that is older than its file does not count.",
        &List(coding(), 0..=Coding::ALL.len()),
        defaults.neighbours.clone(),
    );
    let listing_bytes = section.or(
        "listing_memory",
        "Bytes of listings that are on their way to clients; past them the answer is 503.",
        &Size(1 << 16..=1 << 40),
        defaults.listing_bytes as u64,
    );
    let archives_at_once = section.or(
        "archives_at_once",
        "Archives that are on their way to clients; past them the answer is 503.",
        &Number(1..=MAX_ARCHIVES),
        defaults.archives_at_once as u64,
    );
    FilesOptions {
        index: index.into_iter().map(String::into_bytes).collect(),
        listings,
        archives,
        upload,
        cache_bytes: cache_bytes as usize,
        coded_bytes: coded_bytes as usize,
        neighbours,
        media: media(section),
        cache_control: cache_control(section),
        listing_bytes: listing_bytes as usize,
        archives_at_once: archives_at_once as usize,
    }
}

/// Reads the media types.
fn media(section: &mut Section<'_>) -> MediaTypes {
    let list = section.or(
        "media_types",
        "A file of media types and the endings of their names, in the form of mime.types(5). One \
         that is not there adds nothing.",
        &FilePath,
        SYSTEM_TYPES.into(),
    );
    let mut media = if section.describes() {
        MediaTypes::default()
    } else {
        MediaTypes::default().with_list(list)
    };
    let charset = section.or(
        "charset",
        "The charset that is told of texts; none if it is empty.",
        &Bytes(64),
        "utf-8".to_owned(),
    );
    if let Err(why) = media.set_charset(Some(&*charset).filter(|name| !name.is_empty())) {
        section.refuse("charset", why);
    }
    let types = section.tables("type", "A media type of one's own.", MAX_TYPES, |section| {
        let ending =
            section.needed("ending", "The ending of a name.", &Text("an ending, as \"css\""));
        let is = section.needed("is", "The media type.", &Text("a media type"));
        if let (Some(ending), Some(is)) = (&ending, &is)
            && let Err(why) = MediaTypes::default().set(ending, is)
        {
            section.refuse("is", why);
        }
        ending.zip(is)
    });
    for (ending, is) in types.into_iter().flatten() {
        // What is wrong has been told.
        let _ = media.set(&ending, &is);
    }
    media
}

/// Reads the rules for Cache-Control.
fn cache_control(section: &mut Section<'_>) -> Vec<CacheRule> {
    let rules = section.tables(
        "cache_control",
        "A Cache-Control for files; the first rule that fits counts.",
        MAX_CACHE_RULES,
        |section| {
            let paths = section.needed(
                "match",
                "The files: `*` is all, `*.css` an ending, `/dir/` what is beneath a directory.",
                &Text("a pattern of files, as \"*.css\" or \"/dir/\""),
            );
            let value = section.needed(
                "value",
                "What they get.",
                &Text("a Cache-Control, as \"max-age=3600\""),
            );
            match CacheRule::new(&paths?, &value?) {
                Ok(rule) => Some(rule),
                Err(why) => {
                    section.refuse("match", why);
                    None
                }
            }
        },
    );
    rules.into_iter().flatten().collect()
}
