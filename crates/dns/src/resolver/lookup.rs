//! What people ask for: the addresses of a name as they write it, the name of an address, the
//! places of a service.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;

use super::{ResolveError, Resolver};
use crate::limits::MAX_ALIASES;
use crate::wire::{Found, Kind, Question, Target};

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    fn kind(self) -> Kind {
        match self {
            Self::V4 => Kind::A,
            Self::V6 => Kind::AAAA,
        }
    }

    fn has(self, ip: &IpAddr) -> bool {
        ip.is_ipv4() == (self == Self::V4)
    }
}

/// Hears addresses; never an empty list.
type Addresses = Box<dyn FnOnce(Result<Vec<IpAddr>, ResolveError>)>;

impl Resolver {
    /// Looks the addresses of a name up, of both families, those of IPv6 first. Texts of addresses
    /// are taken as they are. `then` is called within this call or later.
    pub fn addresses(
        &self,
        name: &str,
        then: impl FnOnce(Result<Vec<IpAddr>, ResolveError>) + 'static,
    ) {
        struct Both {
            v6: Option<Result<Vec<IpAddr>, ResolveError>>,
            v4: Option<Result<Vec<IpAddr>, ResolveError>>,
            then: Option<Addresses>,
        }
        let both = Both { v6: None, v4: None, then: Some(Box::new(then)) };
        let both = Rc::new(RefCell::new(both));
        for family in [Family::V6, Family::V4] {
            let both = both.clone();
            self.addresses_of(name, family, move |result| {
                let mut state = both.borrow_mut();
                match family {
                    Family::V6 => state.v6 = Some(result),
                    Family::V4 => state.v4 = Some(result),
                }
                let (Some(v6), Some(v4)) = (&state.v6, &state.v4) else { return };
                let all = match (v6, v4) {
                    (Ok(v6), Ok(v4)) => Ok([v6.as_slice(), v4.as_slice()].concat()),
                    (Ok(all), Err(_)) | (Err(_), Ok(all)) => Ok(all.clone()),
                    // That there is no answer says more than that there is no address.
                    (Err(ResolveError::NotFound(_)), Err(why)) | (Err(why), Err(_)) => {
                        Err(why.clone())
                    }
                };
                let then = state.then.take();
                drop(state);
                if let Some(then) = then {
                    then(all);
                }
            });
        }
    }

    /// Looks the addresses of one family up.
    pub fn addresses_of(
        &self,
        name: &str,
        family: Family,
        then: impl FnOnce(Result<Vec<IpAddr>, ResolveError>) + 'static,
    ) {
        let literal = name.strip_prefix('[').and_then(|n| n.strip_suffix(']')).unwrap_or(name);
        if let Ok(ip) = literal.parse::<IpAddr>() {
            let not_found = || ResolveError::NotFound(name.to_owned());
            return then(family.has(&ip).then(|| vec![ip]).ok_or_else(not_found));
        }
        let name = name.to_owned();
        self.with_files(move |this| {
            let state = this.0.state.borrow();
            if let Some(known) = state.hosts.addresses(&name) {
                drop(state);
                // Whatever is in the file is all there is.
                let known: Vec<_> = known.into_iter().filter(|ip| family.has(ip)).collect();
                let found = (!known.is_empty()).then_some(known);
                return then(found.ok_or(ResolveError::NotFound(name)));
            }
            let mut candidates = state.resolv.candidates(&name);
            drop(state);
            candidates.reverse();
            this.search(name, candidates, family, Box::new(then));
        });
    }

    /// Asks for one candidate after the other, the next one last, until one has addresses.
    fn search(&self, name: String, mut candidates: Vec<String>, family: Family, then: Addresses) {
        let Some(candidate) = candidates.pop() else {
            return then(Err(ResolveError::NotFound(name)));
        };
        let Ok(question) = Question::new(&candidate, family.kind()) else {
            // With a shorter domain it may be one.
            if !candidates.is_empty() {
                return self.search(name, candidates, family, then);
            }
            return then(Err(ResolveError::BadName(name)));
        };
        let this = self.clone();
        self.follow(question, MAX_ALIASES, move |found| match found {
            Ok(Found::Addresses(all)) => then(Ok(all.into_vec())),
            Err(why) => then(Err(why)),
            Ok(_) => this.search(name, candidates, family, then),
        });
    }

    /// Asks a question, and again for what an alias stands for.
    fn follow(
        &self,
        question: Question,
        aliases: usize,
        then: impl FnOnce(Result<Found, ResolveError>) + 'static,
    ) {
        let then: Box<dyn FnOnce(Result<Found, ResolveError>)> = Box::new(then);
        let (this, asked) = (self.clone(), question.clone());
        self.answer(
            question,
            Box::new(move |result| match result.map(|kept| kept.answer.found.clone()) {
                Ok(Found::Alias(next)) if aliases > 0 => this.follow(next, aliases - 1, then),
                Ok(Found::Alias(_)) => then(Err(ResolveError::TooManyAliases(asked.name()))),
                other => then(other),
            }),
        );
    }

    /// Looks the name of an address up.
    pub fn name_of(&self, ip: IpAddr, then: impl FnOnce(Result<String, ResolveError>) + 'static) {
        self.with_files(move |this| {
            let known = this.0.state.borrow().hosts.name(ip).map(str::to_owned);
            if let Some(name) = known {
                return then(Ok(name));
            }
            this.follow(Question::reverse(ip), MAX_ALIASES, move |found| {
                then(match found {
                    Ok(Found::Names(names)) => Ok(names[0].clone()),
                    Ok(_) => Err(ResolveError::NotFound(ip.to_string())),
                    Err(why) => Err(why),
                });
            });
        });
    }

    /// Looks the places of a service up, as `_http._tcp.example.org`, best first (RFC 2782). Among
    /// those of one priority the order is that of the answer; the weights are the caller's.
    pub fn services(
        &self,
        name: &str,
        then: impl FnOnce(Result<Vec<Target>, ResolveError>) + 'static,
    ) {
        let Ok(question) = Question::new(name, Kind::SRV) else {
            return then(Err(ResolveError::BadName(name.to_owned())));
        };
        let name = name.to_owned();
        self.with_files(move |this| {
            this.follow(question, MAX_ALIASES, move |found| {
                then(match found {
                    Ok(Found::Services(all)) => {
                        let mut all = all.into_vec();
                        all.sort_by_key(|target| target.priority);
                        Ok(all)
                    }
                    Ok(_) => Err(ResolveError::NotFound(name)),
                    Err(why) => Err(why),
                });
            });
        });
    }
}
