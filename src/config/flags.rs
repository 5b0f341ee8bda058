//! The flags of `medusa serve` as a configuration.

use clap::ValueEnum;
use medusa_core::Address;
use medusa_ftp::Permissions;

use crate::command::Serve;
use crate::config::value::{Data, Table, Value};

/// What the tree is called that the command line names.
const TREE: &str = "site";

impl Serve {
    /// What the flags mean, as a file would say it.
    pub(crate) fn to_table(&self) -> Table {
        let mut process = Table::default();
        if let Some(n) = self.max_connections {
            process = process.with("max_connections", Data::Number(n.into()));
        }
        let listen = |addresses: &[Address]| -> Vec<Value> {
            addresses.iter().map(|a| (&*a.to_string()).into()).collect()
        };
        let files = Table::default().with("use", "files").with("files", TREE);
        let http = Table::default()
            .with("protocol", "http")
            .with("listen", listen(&self.http))
            .with("extension", vec![files.into()]);
        let mut servers = vec![http.into()];
        if !self.no_ftp {
            let permissions = if self.write { Permissions::ALL } else { Permissions::READ };
            let anonymous = Table::default()
                .with("files", TREE)
                .with("permissions", Data::Text(permissions.to_string()));
            let ftp = Table::default()
                .with("protocol", "ftp")
                .with("listen", listen(&self.ftp))
                .with("anonymous", anonymous);
            servers.push(ftp.into());
        }
        let tree = Table::default()
            .with("path", Data::Path(self.directory.clone()))
            .with("writable", Data::Flag(self.write));
        let life = &self.life;
        for (name, value) in [("user", &life.user), ("group", &life.group)] {
            if let Some(value) = value {
                process = process.with(name, &**value);
            }
        }
        let process = process
            .with("confine", word(&life.confine))
            .with("allow_new_privileges", Data::Flag(life.allow_new_privileges))
            .with("upgrade_timeout", Data::Text(format!("{}s", life.upgrade_timeout)))
            .with("drain_timeout", Data::Text(format!("{}s", life.drain_timeout)));
        let mut monitor = Table::default().with("local", Data::Flag(!self.no_monitor));
        if !self.monitor.is_empty() {
            monitor = monitor.with("listen", listen(&self.monitor));
        }
        if let Some(file) = &self.operators {
            monitor = monitor.with("operators", Data::Path(file.clone()));
        }
        Table::default()
            .with("monitor", monitor)
            .with("process", process)
            .with("log", self.log())
            .with("files", Table::default().with(TREE, tree))
            .with("server", servers)
    }

    fn log(&self) -> Table {
        let mut access = Table::default().with("form", word(&self.log_format));
        if let Some(to) = &self.access_log {
            access = access.with("to", Data::Text(to.clone()));
        }
        if let Some(rule) = &self.log_rotate {
            let number = |n: u64| Data::Number(i64::try_from(n).unwrap_or(i64::MAX));
            let mut rotate = Table::default().with("keep", number(rule.keep.into()));
            if let Some(size) = rule.size {
                rotate = rotate.with("size", number(size.get()));
            }
            if let Some(every) = rule.every {
                rotate = rotate.with("every", Data::Text(format!("{every}s")));
            }
            access = access.with("rotate", rotate);
        }
        Table::default()
            .with("level", word(&self.log_level))
            .with("form", word(&self.diagnostics))
            .with("access", access)
    }
}

/// The word by which a choice is named, on the command line as in files.
fn word(choice: &impl ValueEnum) -> Value {
    let word = choice.to_possible_value().expect("every choice has a word");
    Value::from(word.get_name())
}
