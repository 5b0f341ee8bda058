//! Whole sessions on the harness: no sockets, virtual time, every rule of RFC 9110 and 9112 that
//! a client can see. What only the bytes of one message decide is tested in `wire`.

mod answers;
mod archives;
mod basic_auth;
mod bodies;
mod client;
mod coding;
mod conversations;
mod extensions;
mod figures;
mod files;
mod filters;
mod forms;
mod hosts;
mod limits;
mod listings;
mod log;
mod pipeline;
mod plugging;
mod replies;
mod server;
mod small;
mod time;
mod uploads;
