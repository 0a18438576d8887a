//! What each session may see: replies in the order of its requests, never an older state than before, and the news of a
//! change before anything that reflects it. Across sessions: a write that begins after another was acknowledged is
//! behind it.
//!
//! Flow       orders are checked as they are seen; reads and watches at the end, against the whole history.

use std::collections::{BTreeMap, VecDeque};

use super::state::State;
use super::{Answer, Call, Path, Session, Write, Xid, Zxid};

/// All sessions.
#[derive(Debug, Default)]
pub struct Sessions {
    sessions: BTreeMap<Session, Log>,
    acknowledged: Vec<(Write, Zxid)>,
    /// The highest zxid of a write that anybody knows to be done.
    newest_acknowledged: Zxid,
}

/// One session.
#[derive(Debug, Default)]
struct Log {
    outstanding: VecDeque<Outstanding>,
    last_xid: Option<Xid>,
    last_zxid: Zxid,
    events: Vec<Event>,
}

#[derive(Debug)]
struct Outstanding {
    xid: Xid,
    call: Call,
    /// What was acknowledged to anybody when it was invoked.
    floor: Zxid,
}

/// What a session saw, for the checks at the end.
#[derive(Debug)]
enum Event {
    Reply { zxid: Zxid },
    Read { path: Path, zxid: Zxid, value: Option<Write>, watches: bool },
    Notified { path: Path },
    Disconnected,
}

impl Sessions {
    /// A client sends a request.
    ///
    /// # Errors
    /// Its own number does not rise: the harness is wrong.
    pub fn invoked(&mut self, session: Session, xid: Xid, call: Call) -> Result<(), String> {
        let floor = self.newest_acknowledged;
        let log = self.sessions.entry(session).or_default();
        if log.last_xid.is_some_and(|last| last >= xid) {
            return Err(format!("harness: {session:#x} numbers a request {xid} after {:?}", log.last_xid));
        }
        log.last_xid = Some(xid);
        log.outstanding.push_back(Outstanding { xid, call, floor });
        Ok(())
    }

    /// A client receives a reply.
    ///
    /// # Errors
    /// It is not the turn of that request, or the state went back, or a write stands before one that was done earlier.
    pub fn replied(&mut self, session: Session, xid: Xid, zxid: Zxid, answer: Answer) -> Result<(), String> {
        let log = self.sessions.entry(session).or_default();
        let Some(asked) = log.outstanding.pop_front().filter(|asked| asked.xid == xid) else {
            return Err(format!("session order: {session:#x} is answered {xid} out of turn"));
        };
        if zxid < log.last_zxid {
            return Err(format!("going back: {session:#x} sees {zxid:#x} after {:#x}", log.last_zxid));
        }
        log.last_zxid = zxid;
        match (asked.call, answer) {
            (Call::Write, Answer::Written) => {
                if zxid <= asked.floor {
                    let floor = asked.floor;
                    return Err(format!("real time: {session:#x}'s {xid} is at {zxid:#x}, {floor:#x} was done before"));
                }
                self.acknowledged.push((Write { session, xid }, zxid));
                self.newest_acknowledged = self.newest_acknowledged.max(zxid);
                log.events.push(Event::Reply { zxid });
            }
            (_, Answer::Refused) => log.events.push(Event::Reply { zxid }),
            (Call::Read { path, watches }, Answer::Value(value)) => {
                log.events.push(Event::Read { path, zxid, value, watches });
            }
            (call, answer) => return Err(format!("harness: {answer:?} is no answer to {call:?}")),
        }
        Ok(())
    }

    /// A client is told of a change.
    ///
    /// # Errors
    /// Never yet: it is checked at the end.
    pub fn notified(&mut self, session: Session, path: Path) -> Result<(), String> {
        self.sessions.entry(session).or_default().events.push(Event::Notified { path });
        Ok(())
    }

    /// What was not answered will not be, and what was watched is not.
    pub fn disconnected(&mut self, session: Session) {
        let log = self.sessions.entry(session).or_default();
        log.outstanding.clear();
        log.events.push(Event::Disconnected);
    }

    /// Every write that a client knows to be done, with its zxid.
    pub fn acknowledged(&self) -> impl Iterator<Item = (Write, Zxid)> {
        self.acknowledged.iter().copied()
    }

    /// The run is over.
    ///
    /// # Errors
    /// A read does not fit the history, or a change was seen before the news of it, or news came of no change.
    pub fn finish(&self, state: &State) -> Result<(), String> {
        self.sessions.iter().try_for_each(|(session, log)| finish(*session, log, state))
    }
}

fn finish(session: Session, log: &Log, state: &State) -> Result<(), String> {
    // Watched nodes, with the first change of each behind the read that set the watch.
    let mut watched: BTreeMap<Path, Option<Zxid>> = BTreeMap::new();
    for event in &log.events {
        let (zxid, read) = match event {
            Event::Reply { zxid } => (*zxid, None),
            Event::Read { path, zxid, value, watches } => (*zxid, Some((*path, *value, *watches))),
            Event::Disconnected => {
                watched.clear();
                continue;
            }
            Event::Notified { path } => {
                if watched.remove(path).flatten().is_none() {
                    return Err(format!(
                        "watches: {session:#x} is told that {path} changed, which it has not or does not watch"
                    ));
                }
                continue;
            }
        };
        if let Some((path, change)) = watched.iter().find(|(_, change)| change.is_some_and(|change| change <= zxid)) {
            let change = change.expect("it was found by it");
            return Err(format!(
                "watches: {session:#x} sees {zxid:#x} before it hears that {path} changed at {change:#x}"
            ));
        }
        let Some((path, value, watches)) = read else { continue };
        let held = state.value(path, zxid);
        if held != value.map(Some) && !(value.is_none() && held == Some(None)) {
            return Err(format!(
                "reads: {session:#x} reads {value:x?} from {path} at {zxid:#x}, the history has {held:x?}"
            ));
        }
        if watches {
            // A watch that is set already stays as it is: the earlier change counts.
            watched.entry(path).or_insert_with(|| state.next_change(path, zxid));
        }
    }
    Ok(())
}
