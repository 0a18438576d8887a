//! Jute and the client protocol's frames, as the tests read them: small, complete, and no code shared with the server.
//!
//! Invariant  a `Reader` never panics and never allocates more than the bytes it was given.

/// Opcodes by their protocol names.
pub mod opcode {
    /// Create a node.
    pub const CREATE: i32 = 1;
    /// Delete a node.
    pub const DELETE: i32 = 2;
    /// A node's Stat.
    pub const EXISTS: i32 = 3;
    /// A node's data and Stat.
    pub const GET_DATA: i32 = 4;
    /// Replace a node's data.
    pub const SET_DATA: i32 = 5;
    /// A node's ACL list.
    pub const GET_ACL: i32 = 6;
    /// Replace a node's ACL list.
    pub const SET_ACL: i32 = 7;
    /// Children's names.
    pub const GET_CHILDREN: i32 = 8;
    /// Catch up with the leader.
    pub const SYNC: i32 = 9;
    /// Keep the session alive.
    pub const PING: i32 = 11;
    /// Children's names and the parent's Stat.
    pub const GET_CHILDREN2: i32 = 12;
    /// Version check, legal inside multi only.
    pub const CHECK: i32 = 13;
    /// Several writes in one transaction.
    pub const MULTI: i32 = 14;
    /// Create a node and return its Stat.
    pub const CREATE2: i32 = 15;
    /// Change the membership.
    pub const RECONFIG: i32 = 16;
    /// Is there such a watch?
    pub const CHECK_WATCHES: i32 = 17;
    /// Remove watches of one path.
    pub const REMOVE_WATCHES: i32 = 18;
    /// Create a container.
    pub const CREATE_CONTAINER: i32 = 19;
    /// Internal: remove an empty container.
    pub const DELETE_CONTAINER: i32 = 20;
    /// Create a node with a time to live.
    pub const CREATE_TTL: i32 = 21;
    /// Several reads in one request.
    pub const MULTI_READ: i32 = 22;
    /// Add an identity to the connection.
    pub const AUTH: i32 = 100;
    /// Register watches again after a reconnect.
    pub const SET_WATCHES: i32 = 101;
    /// One step of a SASL exchange.
    pub const SASL: i32 = 102;
    /// The session's ephemeral nodes.
    pub const GET_EPHEMERALS: i32 = 103;
    /// The number of descendants.
    pub const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    /// As `SET_WATCHES`, with the persistent ones.
    pub const SET_WATCHES2: i32 = 105;
    /// Add a persistent watch.
    pub const ADD_WATCH: i32 = 106;
    /// The connection's identities.
    pub const WHO_AM_I: i32 = 107;
    /// Internal: make a session.
    pub const CREATE_SESSION: i32 = -10;
    /// End the session.
    pub const CLOSE_SESSION: i32 = -11;
}

/// Error codes by their protocol names.
pub mod code {
    /// Success.
    pub const OK: i32 = 0;
    /// The server can't do it now.
    pub const SYSTEM_ERROR: i32 = -1;
    /// Results of a multi behind the one that failed.
    pub const RUNTIME_INCONSISTENCY: i32 = -2;
    /// The body can't be decoded.
    pub const MARSHALLING_ERROR: i32 = -5;
    /// Unknown opcode.
    pub const UNIMPLEMENTED: i32 = -6;
    /// Invalid path, flags, or TTL.
    pub const BAD_ARGUMENTS: i32 = -8;
    /// No such node.
    pub const NO_NODE: i32 = -101;
    /// The ACL does not allow it.
    pub const NO_AUTH: i32 = -102;
    /// Another version is current.
    pub const BAD_VERSION: i32 = -103;
    /// The parent is ephemeral.
    pub const NO_CHILDREN_FOR_EPHEMERALS: i32 = -108;
    /// The name is taken.
    pub const NODE_EXISTS: i32 = -110;
    /// The node has children.
    pub const NOT_EMPTY: i32 = -111;
    /// The ACL list is not legal.
    pub const INVALID_ACL: i32 = -114;
    /// The auth packet was refused.
    pub const AUTH_FAILED: i32 = -115;
    /// There is no such watch.
    pub const NO_WATCHER: i32 = -121;
    /// Reconfiguration is off.
    pub const RECONFIG_DISABLED: i32 = -123;
    /// A hard quota refuses.
    pub const QUOTA_EXCEEDED: i32 = -125;
}

/// Builds jute records.
#[derive(Clone, Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// An empty record.
    pub fn new() -> Self {
        Self::default()
    }

    /// What was written.
    pub fn done(self) -> Vec<u8> {
        self.0
    }

    /// Bytes as they are.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One byte: boolean or byte.
    #[must_use]
    pub fn byte(self, value: u8) -> Self {
        self.raw(&[value])
    }

    /// A 32-bit number.
    #[must_use]
    pub fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// A 64-bit number.
    #[must_use]
    pub fn long(self, value: i64) -> Self {
        self.raw(&value.to_be_bytes())
    }

    /// A buffer or string; `None` is null.
    #[must_use]
    pub fn buffer(self, value: Option<&[u8]>) -> Self {
        match value {
            None => self.int(-1),
            Some(bytes) => self.int(length(bytes.len())).raw(bytes),
        }
    }

    /// A string.
    #[must_use]
    pub fn string(self, value: &str) -> Self {
        self.buffer(Some(value.as_bytes()))
    }

    /// The open ACL: everybody may do everything.
    #[must_use]
    pub fn open_acl(self) -> Self {
        self.int(1).int(31).string("world").string("anyone")
    }
}

/// A length as jute writes it.
pub fn length(bytes: usize) -> i32 {
    i32::try_from(bytes).expect("a test's message is far below 2 GiB")
}

/// Puts the length before a message.
pub fn frame(message: &[u8]) -> Vec<u8> {
    Writer::new().int(length(message.len())).raw(message).done()
}

/// Reads jute records; `None` when the bytes run out.
#[derive(Clone, Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.0
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(count)?;
        self.0 = tail;
        Some(head)
    }

    /// One byte.
    pub fn byte(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A 32-bit number.
    pub fn int(&mut self) -> Option<i32> {
        self.take(4).map(|bytes| i32::from_be_bytes(bytes.try_into().expect("four were taken")))
    }

    /// A 64-bit number.
    pub fn long(&mut self) -> Option<i64> {
        self.take(8).map(|bytes| i64::from_be_bytes(bytes.try_into().expect("eight were taken")))
    }

    /// A buffer or string; the inner `None` is null.
    pub fn buffer(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            count => Some(Some(self.take(usize::try_from(count).ok()?)?)),
        }
    }

    /// A string that is neither null nor broken.
    pub fn string(&mut self) -> Option<String> {
        String::from_utf8(self.buffer()??.to_vec()).ok()
    }

    /// The elements of a vector; the inner `None` is a null vector.
    pub fn vector<T>(&mut self, mut element: impl FnMut(&mut Self) -> Option<T>) -> Option<Option<Vec<T>>> {
        let count = self.int()?;
        if count == -1 {
            return Some(None);
        }
        // A count is a claim: elements are collected as long as there are bytes.
        (0..count).map(|_| element(self)).collect::<Option<Vec<T>>>().map(Some)
    }
}

/// Stat as the server sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the protocol's")]
pub struct Stat {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub data_length: i32,
    pub num_children: i32,
    pub pzxid: i64,
}

impl Stat {
    /// Reads the eleven fields.
    pub fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            czxid: reader.long()?,
            mzxid: reader.long()?,
            ctime: reader.long()?,
            mtime: reader.long()?,
            version: reader.int()?,
            cversion: reader.int()?,
            aversion: reader.int()?,
            ephemeral_owner: reader.long()?,
            data_length: reader.int()?,
            num_children: reader.int()?,
            pzxid: reader.long()?,
        })
    }
}

/// A session's password: 16 bytes of `java.util.Random` seeded with the id and a constant (`SessionTrackerImpl`).
pub fn session_password(session_id: i64) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut state = (session_id.cast_unsigned() ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
    let mut password = [0; 16];
    for word in password.chunks_exact_mut(4) {
        state = state.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        let bits = u32::try_from(state >> 16).expect("48 bits less 16 are 32");
        // nextBytes gives each word's least significant byte first.
        word.copy_from_slice(&bits.to_le_bytes());
    }
    password
}
