//! Echo: gives back whatever it is sent. The smallest server there is; read it before `chat.rs`.
//!
//! `cargo run --example echo -- 127.0.0.1:7007`, then `nc 127.0.0.1 7007`.

use std::error::Error;

use medusa_core::{Address, Close, Context, Frame, ListenOptions, Protocol, Reactor, Settings};

/// The state of one connection. An echo remembers nothing.
struct Echo;

impl Protocol for Echo {
    /// Called with each piece of input. No terminator was set, so pieces come as they arrive.
    fn input(&mut self, frame: Frame<'_>, cx: &mut Context<'_>) -> Result<(), Close> {
        match frame {
            Frame::Part(bytes) => {
                // Only queued; the loop sends it, and stops reading from a peer that does not.
                cx.send(bytes);
                Ok(())
            }
            // The peer has sent all: send what is queued, then close.
            _ => Err(Close::Flush),
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let address: Address = std::env::args().nth(1).unwrap_or("127.0.0.1:7007".into()).parse()?;
    let mut reactor = Reactor::new(Settings::default())?;
    let echo = medusa_core::service("echo", |_, _| Echo);
    let (_, bound) = reactor.listen(&address, echo, ListenOptions::default())?;
    println!("listening echo {bound}\nready");
    Ok(reactor.run()?)
}
