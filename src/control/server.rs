//! The process: what SIGHUP, SIGUSR2 and SIGTERM do, with what came of it told to whoever asked.

use std::rc::Rc;

use medusa_core::inspect::{Action, Answer, Inspect, Level, Node, Value};

use crate::life::Orders;
use crate::reload::Running;

const ACTIONS: &[Action] = &[
    Action::new(
        Level::Operate,
        "reload",
        "",
        "Reads the configuration file again and becomes what it says, or changes nothing.",
    ),
    Action::new(
        Level::All,
        "upgrade",
        "",
        "Has the program that now stands in this one's place take over, without losing a \
         connection.",
    ),
    Action::new(
        Level::All,
        "stop",
        "",
        "Stops accepting, and ends when what is in flight has ended; told twice, at once.",
    ),
];

const NOTES: &[(&str, &str)] = &[
    ("version", "The version of the program."),
    ("process", "The number of the process."),
    ("configuration", "Where the configuration comes from."),
];

/// The process.
pub(super) struct ShownProcess {
    pub(super) running: Rc<Running>,
    pub(super) orders: Orders,
}

impl Inspect for ShownProcess {
    fn node(&self) -> Node {
        Node::new("medusa")
            .about("The program that serves.", NOTES)
            .field("version", Value::Text(env!("CARGO_PKG_VERSION").to_owned()))
            .field("process", Value::Count(u64::from(std::process::id())))
            .field("configuration", Value::Text(self.running.source().to_string()))
    }

    fn actions(&self) -> &'static [Action] {
        ACTIONS
    }

    fn act(&self, action: &str, _: &[String], answer: Answer) {
        match action {
            "reload" if !self.running.has_file() => answer.refused(
                "there is no configuration file to be read again: the server was started with \
                 flags",
            ),
            "reload" => self.running.reload(|outcome| match outcome {
                Ok(report) => answer.done(format!("reloaded: {report}")),
                Err(why) => answer.refused(why.as_str()),
            }),
            "upgrade" => self.orders.upgrade(|outcome| match outcome {
                Ok(pid) => answer
                    .done(format!("process {pid} serves now, this one finishes what is in flight")),
                Err(why) => answer.refused(why),
            }),
            _ => {
                let grace = self.orders.stop().as_secs();
                answer.done(format!(
                    "the server stops; what is in flight has {grace} seconds to end"
                ));
            }
        }
    }
}
