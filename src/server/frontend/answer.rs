//! Answers: from a result to a frame in the outbox, with the counting that every answer needs.
//!
//! Invariant  the zxid of a reply is the last one applied here when it is built (a refusal before the pipeline carries 0,
//!            an unknown operation -1); with another code than 0 nothing follows the header.

use std::rc::Rc;
use std::time::Instant;

use net::buffer::ReplyFrame;
use net::jute::{Record as _, Writer};
use net::opcode::OpCode;
use net::record::{ErrorResponse, MultiHeader, ReplyHeader, encode_multi_end};
use tree::apply::OpResult;
use tree::code::Code;
use tree::request::CreateKind;

use super::super::codec;
use super::super::messages::ConnId;
use super::super::metrics::Latency;
use super::super::replica::Now;
use super::Frontend;
use super::connection::{Phase, op_letters};

/// What an answer answers.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The connection.
    pub conn: ConnId,
    /// Echoed.
    pub xid: i32,
    /// What was asked; `None` for a number that is no operation.
    pub op: Option<OpCode>,
    /// When it arrived.
    pub received: Instant,
}

impl Frontend {
    /// Answers with whatever `build` adds behind the header, or with the code it fails with.
    pub(super) fn answer(
        &mut self,
        question: Question,
        now: Now,
        build: impl FnOnce(&mut Frontend, &mut ReplyFrame<'_>) -> Result<(), Code>,
    ) {
        let Some(link) = self.conn(question.conn).map(|conn| Rc::clone(&conn.link)) else { return };
        let zxid = self.tree.borrow().last_zxid().to_wire();
        let mut outbox = link.outbox();
        let mut frame = outbox.frame();
        ReplyHeader { xid: question.xid, zxid, err: Code::Ok.to_i32() }.encode(&mut frame.writer());
        match build(self, &mut frame) {
            Ok(()) => match frame.try_finish() {
                Ok(body_len) => {
                    drop(outbox);
                    self.answered(question, zxid, body_len, now);
                }
                Err(_too_large) => {
                    drop(outbox);
                    self.refuse(question, zxid, Code::MarshallingError, now);
                }
            },
            Err(code) => {
                drop(frame);
                drop(outbox);
                self.refuse(question, zxid, code, now);
            }
        }
    }

    /// Answers with a code and nothing else.
    pub(super) fn refuse(&mut self, question: Question, zxid: i64, code: Code, now: Now) {
        let Some(link) = self.conn(question.conn).map(|conn| Rc::clone(&conn.link)) else { return };
        link.outbox().reply_header(ReplyHeader { xid: question.xid, zxid, err: code.to_i32() });
        self.answered(question, zxid, 16, now);
        self.forget_refused_write(question);
    }

    /// Refuses with the zxid that the pipeline has reached.
    pub(super) fn refuse_in_turn(&mut self, question: Question, code: Code, now: Now) {
        let zxid = self.tree.borrow().last_zxid().to_wire();
        self.refuse(question, zxid, code, now);
    }

    pub(super) fn answered(&mut self, question: Question, zxid: i64, body_len: usize, now: Now) {
        let took = now.instant.saturating_duration_since(question.received);
        self.metrics.packets_sent += 1;
        self.metrics.answered(took, 1);
        self.metrics.responded(u32::try_from(body_len).unwrap_or(u32::MAX));
        let is_write = question.op.is_some_and(|op| op.is_write());
        self.metrics.time(if is_write { Latency::Update } else { Latency::Read }, took);
        self.mark_dirty(question.conn);
        let Some(conn) = self.conn(question.conn) else { return };
        let stats = &mut conn.stats;
        stats.sent += 1;
        stats.last_op = op_letters(question.op);
        stats.last_zxid = zxid;
        stats.last_response = now.monotonic;
        stats.last_latency_ms = took.as_millis() as u64;
        stats.latency.add(stats.last_latency_ms, 1);
        if question.xid >= 0 {
            stats.last_cxid = Some(question.xid);
        }
    }

    /// The answer before the end of a connection: nothing that comes after it is read.
    pub(super) fn answer_last(&mut self, question: Question, zxid: i64, code: Code, now: Now) {
        self.refuse(question, zxid, code, now);
        self.finish(question.conn);
    }

    /// Nothing more will be said on this connection.
    pub(super) fn finish(&mut self, id: ConnId) {
        if let Some(conn) = self.conn(id) {
            conn.phase = Phase::Finished;
            conn.resume.ring();
        }
    }

    /// Answers a write with what applying it led to: a code, or a record.
    pub(super) fn answer_write(
        &mut self,
        question: Question,
        code: i32,
        record: impl FnOnce(&mut Writer<'_>),
        now: Now,
    ) {
        let Some(link) = self.conn(question.conn).map(|conn| Rc::clone(&conn.link)) else { return };
        let zxid = self.tree.borrow().last_zxid().to_wire();
        let mut outbox = link.outbox();
        let mut frame = outbox.frame();
        ReplyHeader { xid: question.xid, zxid, err: code }.encode(&mut frame.writer());
        if code == Code::Ok.to_i32() {
            record(&mut frame.writer());
        }
        let body_len = frame.finish();
        drop(outbox);
        self.answered(question, zxid, body_len, now);
        if code != Code::Ok.to_i32() {
            self.forget_refused_write(question);
        }
    }

    /// `cons` does not name a write that was refused: in ZooKeeper it has become an error transaction by then.
    fn forget_refused_write(&mut self, question: Question) {
        if question.op.is_some_and(|op| op.is_write())
            && let Some(conn) = self.conn(question.conn)
        {
            conn.stats.last_op = op_letters(None);
        }
    }
}

/// Appends the record of a write's answer; what failed has none.
pub(super) fn encode_result(result: &OpResult<'_>, writer: &mut Writer<'_>) {
    match result {
        OpResult::Created { kind: CreateKind::Create, path, .. } => writer.string(Some(path)),
        OpResult::Created { path, stat, .. } => {
            writer.string(Some(path));
            codec::reply::stat(stat).encode(writer);
        }
        OpResult::DataSet(stat) | OpResult::Reconfigured(stat) | OpResult::AclSet(stat) => {
            codec::reply::stat(stat).encode(writer)
        }
        OpResult::Multi(results) => encode_multi(results, writer),
        OpResult::Deleted
        | OpResult::Checked
        | OpResult::SessionCreated { .. }
        | OpResult::SessionClosed
        | OpResult::Error(_) => {}
    }
}

fn encode_multi(results: &[OpResult<'_>], writer: &mut Writer<'_>) {
    for result in results {
        let (op, err) = match result {
            OpResult::Error(code) => (OpCode::Error, *code),
            OpResult::Created { kind: CreateKind::Create, .. } => (OpCode::Create, 0),
            OpResult::Created { .. } => (OpCode::Create2, 0),
            OpResult::Deleted => (OpCode::Delete, 0),
            OpResult::DataSet(_) => (OpCode::SetData, 0),
            OpResult::Checked => (OpCode::Check, 0),
            other => unreachable!("no {other:?} comes of a part of a multi"),
        };
        MultiHeader { op: op.to_wire(), done: false, err }.encode(writer);
        match result {
            OpResult::Error(code) => ErrorResponse { err: *code }.encode(writer),
            _ => encode_result(result, writer),
        }
    }
    encode_multi_end(writer);
}
