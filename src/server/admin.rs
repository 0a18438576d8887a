//! Four-letter words: operators' questions on the client port, answered in ZooKeeper's own formats.
//!
//! Flow       first four bytes of a connection -> `Word` -> whitelist -> text -> close.
//! Invariant  a word that is known but not allowed says so; four bytes that are no word are a frame's length.
//! Absent     the facts themselves: whoever answers hands them in (`Facts`, `ConnFacts`), so that the formats are tested
//!            without a server.

pub mod dates;
pub mod host;
pub mod report;

use crate::config::Whitelist;

/// A four-letter word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Word {
    /// Reads the configuration.
    Conf,
    /// Lists connections in full.
    Cons,
    /// Resets the connections' statistics.
    Crst,
    /// Sizes of the data directories.
    Dirs,
    /// Sessions, their ephemerals and expiry.
    Dump,
    /// The environment.
    Envi,
    /// The trace mask.
    Gtmk,
    /// Tree digests by zxid.
    Hash,
    /// Whether the server is read-only.
    Isro,
    /// Metrics.
    Mntr,
    /// Are you OK.
    Ruok,
    /// Resets the server's statistics.
    Srst,
    /// The summary.
    Srvr,
    /// The summary with connections.
    Stat,
    /// Sets the trace mask.
    Stmk,
    /// Telnet's interrupt, which ZooKeeper knows as a word.
    TelnetClose,
    /// Watches by session.
    Wchc,
    /// Watches by path.
    Wchp,
    /// Watches, summed up.
    Wchs,
}

impl Word {
    const ALL: [(&'static [u8; 4], Word, &'static str); 19] = [
        (b"conf", Word::Conf, "conf"),
        (b"cons", Word::Cons, "cons"),
        (b"crst", Word::Crst, "crst"),
        (b"dirs", Word::Dirs, "dirs"),
        (b"dump", Word::Dump, "dump"),
        (b"envi", Word::Envi, "envi"),
        (b"gtmk", Word::Gtmk, "gtmk"),
        (b"hash", Word::Hash, "hash"),
        (b"isro", Word::Isro, "isro"),
        (b"mntr", Word::Mntr, "mntr"),
        (b"ruok", Word::Ruok, "ruok"),
        (b"srst", Word::Srst, "srst"),
        (b"srvr", Word::Srvr, "srvr"),
        (b"stat", Word::Stat, "stat"),
        (b"stmk", Word::Stmk, "stmk"),
        (b"\xff\xf4\xff\xfd", Word::TelnetClose, "telnet close"),
        (b"wchc", Word::Wchc, "wchc"),
        (b"wchp", Word::Wchp, "wchp"),
        (b"wchs", Word::Wchs, "wchs"),
    ];

    /// The word that these bytes are, if they are one.
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Word> {
        Word::ALL.iter().find(|(letters, ..)| **letters == bytes).map(|(_, word, _)| *word)
    }

    /// Its name, as the whitelist and the refusal spell it.
    pub fn name(self) -> &'static str {
        Word::ALL.iter().find(|(_, word, _)| *word == self).map_or("", |(.., name)| name)
    }

    /// Whether a member without a leader has nothing to say to it.
    pub const fn needs_a_leader(self) -> bool {
        use Word::{Conf, Cons, Crst, Dirs, Dump, Hash, Mntr, Srst, Srvr, Stat, Wchc, Wchp, Wchs};
        matches!(self, Conf | Cons | Crst | Dirs | Dump | Hash | Mntr | Srst | Srvr | Stat | Wchc | Wchp | Wchs)
    }

    /// The refusal, unless the whitelist allows the word.
    pub fn refusal(self, whitelist: &Whitelist) -> Option<String> {
        let name = self.name();
        (!whitelist.allows(name)).then(|| format!("{name} is not executed because it is not in the whitelist.\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_is_found_by_its_letters_and_keeps_its_name() {
        for (letters, word, name) in Word::ALL {
            assert_eq!(Word::from_bytes(*letters), Some(word));
            assert_eq!(word.name(), name);
        }
        assert_eq!(Word::from_bytes([0, 0, 0, 45]), None);
    }

    #[test]
    fn srvr_is_always_allowed_and_others_say_why_not() {
        let whitelist = Whitelist::Only(Vec::new());
        assert_eq!(Word::Srvr.refusal(&whitelist), None);
        let refusal = Word::Mntr.refusal(&whitelist).unwrap();
        assert_eq!(refusal, "mntr is not executed because it is not in the whitelist.\n");
        assert_eq!(Word::TelnetClose.refusal(&Whitelist::All), None);
    }
}
