//! What each command does, by groups.
//!
//! The one design choice: one table says of each command what it needs, and that is checked in one
//! place, before the command runs.

pub(crate) mod access;
pub(crate) mod connections;
pub(crate) mod features;
pub(crate) mod files;
pub(crate) mod hash;
pub(crate) mod listings;
mod quota;
pub(crate) mod transfer;

use medusa_core::Context;
use medusa_fs::{Error, ErrorKind};

use crate::session::{Handled, Session};
use crate::wire::command::Command;

type Run = fn(&mut Session, &Command, &mut Context<'_>) -> Handled;

/// A command.
pub(crate) struct Spec {
    pub(crate) verb: &'static str,
    access: Access,
    argument: Argument,
    /// What HELP says.
    pub(crate) usage: &'static str,
    run: Run,
}

/// Who may give a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Anybody,
    Users,
}

/// What stands behind a verb.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Argument {
    None,
    Maybe,
    Needed,
}

use Access::{Anybody, Users};
use Argument::{Maybe, Needed, None as Without};

const fn spec(
    verb: &'static str,
    access: Access,
    argument: Argument,
    usage: &'static str,
    run: Run,
) -> Spec {
    Spec { verb, access, argument, usage, run }
}

/// All commands, sorted by their verbs.
pub(crate) const TABLE: &[Spec] = &[
    spec("ABOR", Users, Without, "ABOR", transfer::abort),
    spec("ACCT", Anybody, Maybe, "ACCT <account>", access::account),
    spec("ALLO", Users, Needed, "ALLO <bytes>", transfer::allocate),
    spec("APPE", Users, Needed, "APPE <path>", transfer::append),
    spec("CDUP", Users, Without, "CDUP", files::change_up),
    spec("CLNT", Anybody, Needed, "CLNT <program>", features::client),
    spec("CWD", Users, Maybe, "CWD <path>", files::change_directory),
    spec("DELE", Users, Needed, "DELE <path>", files::delete),
    spec("EPRT", Users, Needed, "EPRT |<family>|<address>|<port>|", connections::extended_port),
    spec("EPSV", Users, Maybe, "EPSV [1|2|ALL]", connections::extended_passive),
    spec("FEAT", Anybody, Without, "FEAT", features::features),
    spec("HASH", Users, Needed, "HASH <path>", hash::hash),
    spec("HELP", Anybody, Maybe, "HELP [<command>]", features::help),
    spec("LIST", Users, Maybe, "LIST [<path>]", listings::list),
    spec("MDTM", Users, Needed, "MDTM [<time>] <path>", files::modified),
    spec("MFMT", Users, Needed, "MFMT <time> <path>", files::set_modified),
    spec("MKD", Users, Needed, "MKD <path>", files::make_directory),
    spec("MLSD", Users, Maybe, "MLSD [<path>]", listings::machine_list),
    spec("MLST", Users, Maybe, "MLST [<path>]", listings::machine_facts),
    spec("MODE", Users, Needed, "MODE S", features::mode),
    spec("NLST", Users, Maybe, "NLST [<path>]", listings::names),
    spec("NOOP", Anybody, Maybe, "NOOP", features::nothing),
    spec("OPTS", Anybody, Needed, "OPTS UTF8 ON | MLST <facts> | HASH <name>", features::options),
    spec("PASS", Anybody, Maybe, "PASS <password>", access::password),
    spec("PASV", Users, Without, "PASV", connections::passive),
    spec("PORT", Users, Needed, "PORT <h1,h2,h3,h4,p1,p2>", connections::port),
    spec("PWD", Users, Without, "PWD", files::directory),
    spec("QUIT", Anybody, Without, "QUIT", access::quit),
    spec("RANG", Users, Needed, "RANG <first> <last>", hash::range),
    spec("REIN", Anybody, Without, "REIN", access::reinitialize),
    spec("REST", Users, Needed, "REST <bytes>", transfer::restart),
    spec("RETR", Users, Needed, "RETR <path>", transfer::retrieve),
    spec("RMD", Users, Needed, "RMD <path>", files::remove_directory),
    spec("RNFR", Users, Needed, "RNFR <path>", files::rename_from),
    spec("RNTO", Users, Needed, "RNTO <path>", files::rename_to),
    spec("SITE", Users, Needed, "SITE CHMOD | HELP | QUOTA | UMASK | UTIME", features::site),
    spec("SIZE", Users, Needed, "SIZE <path>", files::size),
    spec("SMNT", Users, Maybe, "SMNT <path>", features::superfluous),
    spec("STAT", Anybody, Maybe, "STAT [<path>]", listings::status),
    spec("STOR", Users, Needed, "STOR <path>", transfer::store),
    spec("STOU", Users, Maybe, "STOU", transfer::store_unique),
    spec("STRU", Users, Needed, "STRU F", features::structure),
    spec("SYST", Anybody, Without, "SYST", features::system),
    spec("TYPE", Users, Needed, "TYPE A | I | L 8", features::representation),
    spec("USER", Anybody, Needed, "USER <name>", access::user),
    spec("XCUP", Users, Without, "XCUP", files::change_up),
    spec("XCWD", Users, Maybe, "XCWD <path>", files::change_directory),
    spec("XMKD", Users, Needed, "XMKD <path>", files::make_directory),
    spec("XPWD", Users, Without, "XPWD", files::directory),
    spec("XRMD", Users, Needed, "XRMD <path>", files::remove_directory),
];

/// The command of this verb.
pub(crate) fn find(verb: &str) -> Option<&'static Spec> {
    TABLE.binary_search_by(|spec| spec.verb.cmp(verb)).ok().map(|at| &TABLE[at])
}

/// Runs a command, or says what it lacks.
pub(crate) fn run(session: &mut Session, command: &Command, cx: &mut Context<'_>) -> Handled {
    let Some(spec) = find(command.verb()) else {
        return session.reply(cx, 500, "There is no such command; HELP lists them.");
    };
    if spec.access == Users && session.user.is_none() {
        return session.reply(cx, 530, "Log in with USER and PASS first.");
    }
    let lacks = match spec.argument {
        Without | Maybe => false,
        Needed => command.argument.is_empty(),
    };
    if lacks {
        return session.reply(cx, 501, &format!("Say more: {}", spec.usage));
    }
    // What was renamed from is forgotten by any other command.
    if spec.verb != "RNTO" {
        session.rename_from = None;
    }
    (spec.run)(session, command, cx)
}

/// Answers that a tree could not do something. What else is known stands in the log.
pub(crate) fn tree_failed(session: &Session, error: &Error, cx: &mut Context<'_>) -> Handled {
    let (code, text) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::Escapes => (550, "There is no such file or directory."),
        ErrorKind::Denied => (550, "Permission denied."),
        ErrorKind::IsDirectory => (550, "That is a directory."),
        ErrorKind::NotDirectory => (550, "That is no directory."),
        ErrorKind::Exists => (550, "There is something of that name already."),
        ErrorKind::NotEmpty => (550, "The directory is not empty."),
        ErrorKind::NoSpace => (452, "There is no space left."),
        ErrorKind::OverQuota => (552, "Your quota is used up; SITE QUOTA tells more."),
        ErrorKind::TooLong => (553, "The name is too long."),
        ErrorKind::ReadOnly => (550, "These files cannot be changed."),
        ErrorKind::CrossDevice => (550, "It cannot be moved from one disk to another."),
        ErrorKind::Busy => (450, "It is in use."),
        ErrorKind::WouldBlock | ErrorKind::Exhausted => {
            (450, "The server has too much to do; try again.")
        }
        ErrorKind::Invalid => (553, "That cannot be done with these names."),
        ErrorKind::Unsupported => (550, "That cannot be done with such a file."),
        _ => {
            tracing::warn!("FTP: {error}");
            (451, "The server has failed to do that.")
        }
    };
    session.reply(cx, code, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_found() {
        assert!(TABLE.is_sorted_by(|a, b| a.verb < b.verb));
        for spec in TABLE {
            assert!(find(spec.verb).is_some() && spec.usage.starts_with(spec.verb));
        }
        assert!(find("AUTH").is_none());
    }
}
