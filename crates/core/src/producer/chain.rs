//! Producers one after the other.

use std::collections::VecDeque;

use super::{Aborted, Piece, Producer, Pull};

/// Gives the output of several producers, one after the other.
#[derive(Default)]
pub struct Chain(VecDeque<Box<dyn Producer>>);

impl Chain {
    /// Begins an empty chain.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a producer.
    #[must_use]
    pub fn then(mut self, next: impl Producer + 'static) -> Self {
        self.0.push_back(Box::new(next));
        self
    }
}

impl Producer for Chain {
    fn produce(&mut self, room: usize, pull: &mut Pull<'_>) -> Result<Piece, Aborted> {
        while let Some(first) = self.0.front_mut() {
            match first.produce(room, pull)? {
                Piece::End => drop(self.0.pop_front()),
                piece => return Ok(piece),
            }
        }
        Ok(Piece::End)
    }

    fn remaining(&self) -> Option<u64> {
        self.0.iter().map(Producer::remaining).sum()
    }
}
