//! Libraries: functions of the host that scripts call.

mod base64;
mod hash;
mod json;
mod log;
mod shared;
mod store;
mod time;

use bytes::Bytes;
use medusa_core::Handle;

pub use self::shared::SharedTable;
pub use self::store::Store;
use crate::call::Later;
use crate::value::Value;

/// A table of functions that scripts find under a name. Each copies its arguments in and its
/// results out; what it answers as an error is raised in the script.
pub struct Library {
    pub(crate) name: &'static str,
    pub(crate) functions: Vec<(&'static str, Host)>,
    pub(crate) values: Vec<(&'static str, Value)>,
    pub(crate) source: Option<&'static str>,
}

type Now = Box<dyn Fn(&[Value]) -> Result<Vec<Value>, String>>;
type Asked = Box<dyn Fn(&[Value], Later)>;

/// A function of the host.
pub(crate) enum Host {
    Now(Now),
    Later(Asked),
}

impl Library {
    /// Begins a library.
    pub fn new(name: &'static str) -> Self {
        Self { name, functions: Vec::new(), values: Vec::new(), source: None }
    }

    /// Adds a function that answers at once. It must be quick, and must not block.
    #[must_use]
    pub fn function(
        mut self,
        name: &'static str,
        function: impl Fn(&[Value]) -> Result<Vec<Value>, String> + 'static,
    ) -> Self {
        self.functions.push((name, Host::Now(Box::new(function))));
        self
    }

    /// Adds a function that answers when it can; the script waits, and nobody else does.
    #[must_use]
    pub fn later(
        mut self,
        name: &'static str,
        function: impl Fn(&[Value], Later) + 'static,
    ) -> Self {
        self.functions.push((name, Host::Later(Box::new(function))));
        self
    }

    /// Adds a value.
    #[must_use]
    pub fn value(mut self, name: &'static str, value: Value) -> Self {
        self.values.push((name, value));
        self
    }

    /// Has a chunk of Lua make the library that scripts see of what was added: it returns a
    /// function of that table and of the engine's own `setmetatable`.
    #[must_use]
    pub fn made_by(mut self, source: &'static str) -> Self {
        self.source = Some(source);
        self
    }
}

/// The libraries that every engine has.
pub(crate) fn standard(handle: &Handle) -> Vec<Library> {
    vec![json::library(), base64::library(), hash::library(), time::library(handle), log::library()]
}

/// The argument of this number, as a text.
pub fn text(arguments: &[Value], number: usize) -> Result<&Bytes, String> {
    match arguments.get(number) {
        Some(Value::Text(text)) => Ok(text),
        other => Err(format!(
            "argument {} must be a string, not {}",
            number + 1,
            other.map_or("nothing", Value::kind)
        )),
    }
}

/// The codec of `json`, for property tests.
#[cfg(test)]
pub(crate) mod json_for_tests {
    pub(crate) use super::json::decode;
    use super::json::encode;
    use crate::value::Value;

    pub(crate) fn encode_compact(value: &Value) -> Result<Vec<u8>, String> {
        encode(value, serde_json::ser::CompactFormatter)
    }
}
