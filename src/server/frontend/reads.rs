//! Reads: answered from this core's tree, at their turn in their connection's order.
//!
//! Invariant  a watch is registered in the same turn as its read, so that any later change fires it.
//! Absent     long listings, which are answered over several turns: see `listing`.

use std::borrow::Cow;
use std::rc::Rc;

use net::buffer::ReplyFrame;
use net::error::DecodeError;
use net::jute::{Record, decode};
use net::opcode::OpCode;
use net::record::{
    ClientInfo, ErrorResponse, ExistsRequest, GetAclRequest, GetAllChildrenNumberRequest, GetAllChildrenNumberResponse,
    GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, GetEphemeralsResponse, MultiHeader, MultiReadOp,
    MultiReadRequest, SyncRequest, WhoAmIResponse, encode_multi_end,
};
use tree::Data;
use tree::acl::Identity;
use tree::code::Code;
use tree::tree::Tree;
use tree::watch::Watch;

use super::super::codec;
use super::super::messages::ConnId;
use super::super::replica::Now;
use super::Frontend;
use super::answer::Question;

/// Bytes of a multiRead's answer beyond which it is refused: a request of 1 MiB could ask for gigabytes.
const MULTI_READ_MAX_BYTES: usize = 64 << 20;

/// Decodes a request; what does not decode is answered MARSHALLINGERROR.
pub(super) fn decoded<'a, T: Record<'a>>(body: &'a [u8]) -> Result<T, Code> {
    decode(body).map_err(|_: DecodeError| Code::MarshallingError)
}

impl Frontend {
    /// Answers one read, unless it becomes a listing, which is then at the head of the queue.
    pub(super) fn answer_read(&mut self, question: Question, body: &[u8], who: &[Identity], now: Now) {
        let Some(op) = question.op else { return };
        match op {
            OpCode::SetWatches | OpCode::SetWatches2 => self.set_watches(question, op, body, now),
            OpCode::GetChildren | OpCode::GetChildren2 if self.begin_listing(question, op, body, who) => {}
            _ => self.answer(question, now, |frontend, frame| frontend.read(question.conn, op, body, who, frame)),
        }
    }

    fn read(
        &mut self,
        id: ConnId,
        op: OpCode,
        body: &[u8],
        who: &[Identity],
        frame: &mut ReplyFrame<'_>,
    ) -> Result<(), Code> {
        let tree = Rc::clone(&self.tree);
        let tree = &*tree.borrow();
        match op {
            OpCode::Ping => Ok(()),
            OpCode::Sync => {
                decoded::<SyncRequest<'_>>(body).map(|request| frame.writer().string(request.path.as_deref()))
            }
            OpCode::Exists => self.exists(id, tree, body, who, frame),
            OpCode::GetData => self.get_data(id, tree, body, who, frame),
            OpCode::GetChildren | OpCode::GetChildren2 => self.get_children(id, tree, op, body, who, frame),
            OpCode::GetAcl => self.get_acl(tree, body, who, frame),
            OpCode::GetAllChildrenNumber => {
                let request: GetAllChildrenNumberRequest<'_> = decoded(body)?;
                let node = tree.readable(&request.path, who, &self.settings.schemes)?;
                // Found by that very path, so it counts.
                let count = tree.all_children_number(&request.path).unwrap_or_else(|| node.descendant_count());
                let total_number = i32::try_from(count).unwrap_or(i32::MAX);
                GetAllChildrenNumberResponse { total_number }.encode(&mut frame.writer());
                Ok(())
            }
            OpCode::GetEphemerals => self.get_ephemerals(id, tree, body, frame),
            OpCode::MultiRead => self.multi_read(tree, body, who, frame),
            OpCode::AddWatch => {
                self.add_watch(id, body)?;
                ErrorResponse { err: 0 }.encode(&mut frame.writer());
                Ok(())
            }
            OpCode::CheckWatches => self.check_watches(id, body),
            OpCode::RemoveWatches => self.remove_watches(id, body),
            OpCode::WhoAmI => {
                let client_info = who.iter().map(|identity| self.client_info(identity)).collect();
                WhoAmIResponse { client_info }.encode(&mut frame.writer());
                Ok(())
            }
            other => unreachable!("{other:?} is not a read"),
        }
    }

    fn client_info<'i>(&self, identity: &'i Identity) -> ClientInfo<'i> {
        ClientInfo {
            auth_scheme: Cow::Borrowed(&identity.scheme),
            user: Cow::Borrowed(self.settings.schemes.user_name(identity)),
        }
    }

    fn exists(
        &mut self,
        id: ConnId,
        tree: &Tree,
        body: &[u8],
        who: &[Identity],
        frame: &mut ReplyFrame<'_>,
    ) -> Result<(), Code> {
        let request: ExistsRequest<'_> = decoded(body)?;
        let stat = tree.exists(&request.path, who, &self.settings.schemes);
        if request.watch && matches!(stat, Ok(_) | Err(Code::NoNode)) {
            self.watch(id, &request.path, Watch::Data);
        }
        codec::reply::stat(&stat?).encode(&mut frame.writer());
        Ok(())
    }

    fn get_data(
        &mut self,
        id: ConnId,
        tree: &Tree,
        body: &[u8],
        who: &[Identity],
        frame: &mut ReplyFrame<'_>,
    ) -> Result<(), Code> {
        let request: GetDataRequest<'_> = decoded(body)?;
        let node = tree.readable(&request.path, who, &self.settings.schemes)?;
        put_data(node.data(), frame);
        codec::reply::stat(&node.stat()).encode(&mut frame.writer());
        if request.watch {
            self.watch(id, &request.path, Watch::Data);
        }
        Ok(())
    }

    fn get_children(
        &mut self,
        id: ConnId,
        tree: &Tree,
        op: OpCode,
        body: &[u8],
        who: &[Identity],
        frame: &mut ReplyFrame<'_>,
    ) -> Result<(), Code> {
        let request: GetChildrenRequest<'_> = decoded(body)?;
        let node = tree.readable(&request.path, who, &self.settings.schemes)?;
        put_names(node.children(), frame);
        if op == OpCode::GetChildren2 {
            codec::reply::stat(&node.stat()).encode(&mut frame.writer());
        }
        if request.watch {
            self.watch(id, &request.path, Watch::Child);
        }
        Ok(())
    }

    fn get_acl(&self, tree: &Tree, body: &[u8], who: &[Identity], frame: &mut ReplyFrame<'_>) -> Result<(), Code> {
        let request: GetAclRequest<'_> = decoded(body)?;
        let (acl, stat) = tree.read_acl(&request.path, who, &self.settings.schemes)?;
        codec::reply::encode_acl(&acl, &mut frame.writer());
        codec::reply::stat(&stat).encode(&mut frame.writer());
        Ok(())
    }

    fn get_ephemerals(&mut self, id: ConnId, tree: &Tree, body: &[u8], frame: &mut ReplyFrame<'_>) -> Result<(), Code> {
        let request: GetEphemeralsRequest<'_> = decoded(body)?;
        let session = self.conn(id).map(|conn| conn.session).unwrap_or_default();
        let ephemerals = tree.ephemerals_with_prefix(session, request.prefix_path.as_deref());
        let ephemerals = ephemerals.map(Cow::Owned).collect();
        GetEphemeralsResponse { ephemerals }.encode(&mut frame.writer());
        Ok(())
    }

    fn multi_read(&self, tree: &Tree, body: &[u8], who: &[Identity], frame: &mut ReplyFrame<'_>) -> Result<(), Code> {
        let request: MultiReadRequest<'_> = decoded(body)?;
        for op in &request.ops {
            if frame.body_len() > MULTI_READ_MAX_BYTES {
                return Err(Code::MarshallingError);
            }
            let path = match op {
                MultiReadOp::GetData(request) => &request.path,
                MultiReadOp::GetChildren(request) => &request.path,
            };
            match tree.readable(path, who, &self.settings.schemes) {
                Ok(node) => {
                    MultiHeader { op: op.op().to_wire(), done: false, err: 0 }.encode(&mut frame.writer());
                    if op.op() == OpCode::GetData {
                        put_data(node.data(), frame);
                        codec::reply::stat(&node.stat()).encode(&mut frame.writer());
                    } else {
                        put_names(node.children(), frame);
                    }
                }
                Err(code) => {
                    let err = code.to_i32();
                    MultiHeader { op: OpCode::Error.to_wire(), done: false, err }.encode(&mut frame.writer());
                    ErrorResponse { err }.encode(&mut frame.writer());
                }
            }
        }
        encode_multi_end(&mut frame.writer());
        Ok(())
    }
}

fn put_data(data: Option<Data<'_>>, frame: &mut ReplyFrame<'_>) {
    match data {
        None => frame.writer().buffer(None),
        Some(Data::Slice(bytes)) => frame.writer().buffer(Some(bytes)),
        Some(Data::Shared(bytes)) => frame.shared_buffer(bytes),
    }
}

fn put_names<'n>(names: impl ExactSizeIterator<Item = &'n str>, frame: &mut ReplyFrame<'_>) {
    let mut writer = frame.writer();
    writer.count(Some(names.len()));
    names.for_each(|name| writer.string(Some(name)));
}
