//! The record on a disk: two slots, written in turns, so that a torn write never takes the last durable one with it.
//!
//! Flow       `load` at the start; `encode` into the slot that the version chooses, then a durable write of that block.
//! Invariant  a slot counts only if both its ends say the same and the sum fits: a write torn anywhere shows.

use std::hash::Hasher;
use std::path::Path;

use storage::disk::{BLOCK, Disk};

use super::{Ballot, Record};
use crate::sim::disk::SimDisk;
use crate::sim::story::Fingerprint;

/// The directory of the register.
pub const DIR: &str = "/paxos";
/// Its file.
pub const FILE: &str = "/paxos/register";
/// Words of a slot: the version, the record, the sum.
const WORDS: usize = 9;
const LEN: usize = WORDS * 8;

/// Where a version is written.
pub fn offset(version: u64) -> u64 {
    version % 2 * BLOCK as u64
}

/// A slot's bytes.
pub fn encode(version: u64, record: &Record, block: &mut [u8]) {
    let (ballot, value) = record.accepted.unwrap_or_default();
    let mut words = [
        version,
        record.round,
        record.promised.round,
        record.promised.member,
        record.accepted.is_some().into(),
        ballot.round,
        ballot.member,
        value,
        0,
    ];
    words[WORDS - 1] = sum(&words);
    block.fill(0);
    for (at, word) in words.iter().enumerate() {
        for begin in [0, block.len() - LEN] {
            block[begin + at * 8..begin + at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
    }
}

/// The newest record that the disk holds whole, with its version.
pub fn load(disk: &SimDisk) -> (u64, Record) {
    let bytes = disk.map(Path::new(FILE)).unwrap_or_default();
    bytes.chunks_exact(BLOCK).filter_map(decode).max_by_key(|(version, _)| *version).unwrap_or_default()
}

fn decode(block: &[u8]) -> Option<(u64, Record)> {
    if block[..LEN] != block[block.len() - LEN..] {
        return None;
    }
    let mut words = [0; WORDS];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(8)) {
        *word = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    }
    if words[0] == 0 || words[WORDS - 1] != sum(&words) {
        return None;
    }
    let [version, round, promised_round, promised_member, has_accepted, ballot_round, ballot_member, value, _] = words;
    let ballot = Ballot { round: ballot_round, member: ballot_member };
    let promised = Ballot { round: promised_round, member: promised_member };
    Some((version, Record { round, promised, accepted: (has_accepted == 1).then_some((ballot, value)) }))
}

fn sum(words: &[u64; WORDS]) -> u64 {
    let mut sum = Fingerprint::default();
    words[..WORDS - 1].iter().for_each(|&word| sum.write_u64(word));
    sum.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_what_is_torn_is_not() {
        let ballot = Ballot { round: 3, member: 1 };
        let record = Record { round: 4, promised: ballot, accepted: Some((ballot, 99)) };
        let mut block = vec![0xA5; BLOCK];
        encode(7, &record, &mut block);
        assert_eq!(decode(&block), Some((7, record)));
        let mut torn = block.clone();
        encode(9, &Record { round: 5, ..record }, &mut torn);
        torn[BLOCK / 2..].copy_from_slice(&block[BLOCK / 2..]);
        assert_eq!(decode(&torn), None);
        assert_eq!(decode(&[0; BLOCK]), None);
    }
}
