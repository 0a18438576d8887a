//! Are two outcomes the same, when the numbers that differ between servers are mapped by order of appearance?
//!
//! Invariant  the mapping of zxids is one to one and keeps their order; that of session ids is one to one; a time
//!            belongs to a zxid and never goes back as zxids rise. What was mapped once stays mapped.

use std::collections::{BTreeMap, HashMap};

use super::answer::{Frame, Value};
use crate::wire;

/// The mapping so far.
#[derive(Debug, Default)]
pub struct Mapping {
    zxids: BTreeMap<i64, i64>,
    zxids_back: BTreeMap<i64, i64>,
    sessions: HashMap<i64, i64>,
    sessions_back: HashMap<i64, i64>,
    times: [BTreeMap<i64, i64>; 2],
}

/// Numbers that mean the same on every server: nothing yet, none, not from a transaction.
const FIXED_ZXIDS: [i64; 2] = [0, -1];

impl Mapping {
    /// Compares what one connection brought, frame by frame. A session that ends removes its ephemerals in no order:
    /// with `any_order` the notifications of one transaction are a set.
    ///
    /// # Errors
    /// Where they differ first.
    pub fn frames(&mut self, left: &[Frame], right: &[Frame], any_order: bool) -> Result<(), String> {
        if any_order {
            return self.frames(&sorted(left), &sorted(right), false);
        }
        for (index, (left, right)) in left.iter().zip(right).enumerate() {
            self.frame(left, right).map_err(|problem| format!("frame {index}: {problem}"))?;
        }
        if left.len() != right.len() {
            return Err(format!("{} frames against {}", left.len(), right.len()));
        }
        Ok(())
    }

    fn frame(&mut self, left: &Frame, right: &Frame) -> Result<(), String> {
        match (left, right) {
            (Frame::Granted(a), Frame::Granted(b)) => self.value("handshake", a, b),
            (Frame::Event { zxid: za, body: a }, Frame::Event { zxid: zb, body: b }) => {
                self.value("event", a, b)?;
                self.zxid("event.zxid", *za, *zb)
            }
            (
                Frame::Reply { xid: xa, zxid: za, err: ea, body: a, .. },
                Frame::Reply { xid: xb, zxid: zb, err: eb, body: b, .. },
            ) => {
                same("xid", xa, xb)?;
                same("err", ea, eb)?;
                self.value("reply", a, b)?;
                self.zxid("reply.zxid", *za, *zb)
            }
            (Frame::Closed, Frame::Closed) | (Frame::Silent, Frame::Silent) => Ok(()),
            _ => Err("different kinds of frame".to_owned()),
        }
    }

    fn value(&mut self, place: &str, left: &Value, right: &Value) -> Result<(), String> {
        match (left, right) {
            (Value::Zxid(a), Value::Zxid(b)) => self.zxid(place, *a, *b),
            (Value::Session(a), Value::Session(b)) => self.session(place, *a, *b),
            (Value::Time(a, az), Value::Time(b, bz)) => {
                self.time(0, place, *a, *az)?;
                self.time(1, place, *b, *bz)
            }
            (Value::Password(a, sa), Value::Password(b, sb)) => {
                for (password, session) in [(a, *sa), (b, *sb)] {
                    let right = if session == 0 { [0; 16] } else { wire::session_password(session) };
                    same(&format!("{place} of {session:#x}"), &right.as_slice(), &password.as_slice())?;
                }
                Ok(())
            }
            (Value::List(a), Value::List(b)) | (Value::Set(a), Value::Set(b)) => {
                same(&format!("{place}.length"), &a.len(), &b.len())?;
                let mut pairs = a.iter().zip(b).enumerate();
                pairs.try_for_each(|(index, (a, b))| self.value(&format!("{place}[{index}]"), a, b))
            }
            (Value::Record(a), Value::Record(b)) => {
                let names = |record: &[(&'static str, Value)]| record.iter().map(|(n, _)| *n).collect::<Vec<_>>();
                same(&format!("{place}: fields"), &names(a), &names(b))?;
                let mut pairs = a.iter().zip(b);
                pairs.try_for_each(|((name, a), (_, b))| self.value(&format!("{place}.{name}"), a, b))
            }
            (a, b) => same(place, a, b),
        }
    }

    fn zxid(&mut self, place: &str, left: i64, right: i64) -> Result<(), String> {
        if FIXED_ZXIDS.contains(&left) || FIXED_ZXIDS.contains(&right) {
            return same(place, &left, &right);
        }
        if let Some(known) = self.zxids.get(&left) {
            return if *known == right {
                Ok(())
            } else {
                Err(format!("{place}: zxid {left:#x} stood for {known:#x} before, now for {right:#x}"))
            };
        }
        if let Some(known) = self.zxids_back.get(&right) {
            return Err(format!("{place}: zxid {right:#x} stood for {known:#x} before, now for {left:#x}"));
        }
        let below = self.zxids.range(..left).next_back().is_none_or(|(_, below)| *below < right);
        let above = self.zxids.range(left..).next().is_none_or(|(_, above)| right < *above);
        if !below || !above {
            return Err(format!("{place}: zxids {left:#x} and {right:#x} stand in another order"));
        }
        self.zxids.insert(left, right);
        self.zxids_back.insert(right, left);
        Ok(())
    }

    fn session(&mut self, place: &str, left: i64, right: i64) -> Result<(), String> {
        if left == 0 || right == 0 {
            return same(place, &left, &right);
        }
        let there = *self.sessions.entry(left).or_insert(right);
        let back = *self.sessions_back.entry(right).or_insert(left);
        if there == right && back == left {
            return Ok(());
        }
        Err(format!("{place}: session {left:#x} stood for {there:#x}, {right:#x} for {back:#x}"))
    }

    /// On one server: a transaction has one time, and later ones no earlier time.
    fn time(&mut self, side: usize, place: &str, ms: i64, zxid: i64) -> Result<(), String> {
        let times = &mut self.times[side];
        let known = *times.entry(zxid).or_insert(ms);
        let before = times.range(..zxid).next_back().is_none_or(|(_, before)| *before <= ms);
        let after = times.range(zxid + 1..).next().is_none_or(|(_, after)| ms <= *after);
        if known == ms && before && after && (zxid == 0) == (ms == 0) {
            return Ok(());
        }
        Err(format!("{place}: server {side}: time {ms} of zxid {zxid:#x} fits no order of times (known {known})"))
    }
}

/// The same frames, with each transaction's notifications in the order of their content.
fn sorted(frames: &[Frame]) -> Vec<Frame> {
    let mut frames = frames.to_vec();
    let together =
        |a: &Frame, b: &Frame| matches!((a, b), (Frame::Event { zxid: a, .. }, Frame::Event { zxid: b, .. }) if a == b);
    frames.chunk_by_mut(together).for_each(|chunk| {
        chunk.sort_by(|a, b| match (a, b) {
            (Frame::Event { body: a, .. }, Frame::Event { body: b, .. }) => a.cmp(b),
            _ => std::cmp::Ordering::Equal,
        });
    });
    frames
}

fn same<T: PartialEq + std::fmt::Debug>(place: &str, left: &T, right: &T) -> Result<(), String> {
    if left == right { Ok(()) } else { Err(format!("{place}: {left:?} against {right:?}")) }
}
