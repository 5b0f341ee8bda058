//! How an accepted connection comes to be a channel, or does not.
//!
//! The one design choice: the limits are asked before the service, and know nothing of it: what is
//! turned away has cost its client a connection, and us next to nothing.

use std::rc::Rc;

use super::{ChannelId, Engine};
use crate::address::Peer;
use crate::channel::Limited;
use crate::limits::ChannelSettings;
use crate::protocol::{Protocol, Service};
use crate::server_limits::Place;
use crate::transport::Transport;

/// What became of a connection that asked to be taken.
pub(crate) enum Admission {
    Taken(Taken),
    /// The service does not want it.
    Refused,
    /// Its client has as many as one may have.
    TurnedAway,
}

/// A connection that was taken, without what carries it.
pub(crate) struct Taken {
    protocol: Box<dyn Protocol>,
    settings: Rc<ChannelSettings>,
    place: Option<Place>,
}

impl Engine {
    /// Asks a service, and the limits of its server, whether a connection is taken. A service that
    /// panics takes none.
    pub(crate) fn admit(&mut self, service: &dyn Service, peer: &Peer) -> Admission {
        let mut admission = Admission::Refused;
        self.guarded(|engine| {
            let limits = service.limits();
            let place = limits.map(|limits| limits.admit(peer, &engine.handle));
            admission = match place {
                Some(None) => Admission::TurnedAway,
                place => match service.accept(peer, &engine.handle) {
                    Some(protocol) => Admission::Taken(Taken {
                        protocol,
                        settings: service.settings(),
                        place: place.flatten(),
                    }),
                    None => Admission::Refused,
                },
            };
        });
        admission
    }

    /// Takes an accepted connection in. It is not driven before [`Engine::start`].
    pub(crate) fn insert_taken(
        &mut self,
        transport: Transport,
        taken: Taken,
        peer: Peer,
        listener: u32,
    ) -> ChannelId {
        let Taken { protocol, settings, place } = taken;
        let id = self.insert(transport, protocol, peer, settings, None, listener);
        if let (Some(place), Some(channel)) = (place, self.channels.get_mut(id)) {
            channel.io.limited = Some(Box::new(Limited::new(Some(place))));
        }
        id
    }
}
