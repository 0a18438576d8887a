//! Writing a snapshot: bytes in, full chunks to the disk, a name at the end.

use std::path::{Path, PathBuf};

use super::{
    CHUNK_HEADER_LEN, CHUNK_LAST, CHUNK_LEN, FOOTER_LEN, FOOTER_MAGIC, MAGIC, METADATA_LEN_MAX, TMP_SUFFIX,
    TRAILER_HEADER_LEN, TRAILER_MAGIC, VERSION, chunk_crc, name, trailer_blocks,
};
use crate::disk::{BLOCK, Disk, DiskFile, Open, Strategy, block_up, join, write_padded};
use crate::error::SnapshotError;

/// A snapshot that is being written. Dropped before [`finish`](SnapshotWriter::finish) it never was; what it leaves is
/// removed at the next start, or at once by [`abandon`](SnapshotWriter::abandon).
pub struct SnapshotWriter<D: Disk> {
    disk: D,
    dir: PathBuf,
    seq: u64,
    tmp: PathBuf,
    file: D::File,
    /// The chunk that is being filled, its header's room first.
    buffer: <D::File as DiskFile>::Buffer,
    used: usize,
    chunks: u32,
    chain: u32,
    payload_len: u64,
}

impl<D: Disk> SnapshotWriter<D> {
    /// Begins the snapshot at `seq` in `dir`.
    ///
    /// # Errors
    /// Nothing is left but perhaps a `.tmp`.
    pub async fn create(disk: D, dir: &Path, seq: u64) -> Result<SnapshotWriter<D>, SnapshotError> {
        let tmp = join(dir, &format!("{}{TMP_SUFFIX}", name(seq)));
        // Past the page cache: dirty pages by the gigabyte would make every sync of the log wait for them.
        let file = disk.open(&tmp, Open::Fresh, Strategy::Direct).await.map_err(SnapshotError::io("make", &tmp))?;
        let mut header = [0; BLOCK];
        header[0..8].copy_from_slice(MAGIC);
        header[8..12].copy_from_slice(&VERSION.to_le_bytes());
        header[16..24].copy_from_slice(&seq.to_le_bytes());
        header[24..28].copy_from_slice(&(CHUNK_LEN as u32).to_le_bytes());
        let chain = crc32fast::hash(&header[16..32]);
        header[12..16].copy_from_slice(&chain.to_le_bytes());
        let buffer = file.buffer(CHUNK_LEN);
        let writer = SnapshotWriter {
            disk,
            dir: dir.to_owned(),
            seq,
            tmp,
            file,
            buffer,
            used: CHUNK_HEADER_LEN,
            chunks: 0,
            chain,
            payload_len: 0,
        };
        match write_padded(&writer.file, &header, 0).await {
            Ok(()) => Ok(writer),
            Err(source) => {
                let error = SnapshotError::io("write", &writer.tmp)(source);
                writer.abandon().await;
                Err(error)
            }
        }
    }

    /// Adds bytes. Waits for the disk once per full chunk, so the caller's loop yields at least that often.
    ///
    /// # Errors
    /// The snapshot can't be finished any more: [`abandon`](SnapshotWriter::abandon) it.
    ///
    /// # Cancel safety
    /// Not cancel safe: a chunk may be lost; drop the writer too.
    pub async fn write(&mut self, mut bytes: &[u8]) -> Result<(), SnapshotError> {
        while !bytes.is_empty() {
            if self.used == CHUNK_LEN {
                self.flush(0).await?;
            }
            let len = bytes.len().min(CHUNK_LEN - self.used);
            let (now, later) = bytes.split_at(len);
            self.buffer.as_mut()[self.used..self.used + len].copy_from_slice(now);
            self.used += len;
            bytes = later;
        }
        Ok(())
    }

    /// Completes the snapshot, makes it durable and gives it its name. `metadata` comes back from the reader.
    ///
    /// # Errors
    /// There is no snapshot; a `.tmp` may be left.
    ///
    /// # Panics
    /// If the metadata is longer than [`METADATA_LEN_MAX`].
    ///
    /// # Cancel safety
    /// Safe: the snapshot is there whole or not at all.
    pub async fn finish(mut self, metadata: &[u8]) -> Result<(), SnapshotError> {
        assert!(metadata.len() <= METADATA_LEN_MAX, "metadata of {} bytes", metadata.len());
        match self.complete(metadata).await {
            Ok(()) => Ok(()),
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Removes what was written so far.
    pub async fn abandon(self) {
        let SnapshotWriter { disk, tmp, file, .. } = self;
        drop(file);
        // If it can't be removed now, the next start does it.
        let _ = disk.remove(&tmp).await;
    }

    /// Bytes that were added so far.
    pub fn payload_len(&self) -> u64 {
        self.payload_len + (self.used - CHUNK_HEADER_LEN) as u64
    }

    async fn complete(&mut self, metadata: &[u8]) -> Result<(), SnapshotError> {
        let last_used = self.used;
        self.flush(CHUNK_LAST).await?;
        let trailer_at = BLOCK as u64 + u64::from(self.chunks - 1) * CHUNK_LEN as u64 + block_up(last_used as u64);
        let trailer = self.trailer(metadata);
        write_padded(&self.file, &trailer, trailer_at).await.map_err(SnapshotError::io("write", &self.tmp))?;
        self.file.sync().await.map_err(SnapshotError::io("sync", &self.tmp))?;
        let path = join(&self.dir, &name(self.seq));
        self.disk.rename(&self.tmp, &path).await.map_err(SnapshotError::io("rename", &self.tmp))?;
        self.disk.sync_dir(&self.dir).await.map_err(SnapshotError::io("sync the directory", &self.dir))
    }

    /// Hands the chunk to the disk and begins another.
    async fn flush(&mut self, flags: u32) -> Result<(), SnapshotError> {
        let payload_len = self.used - CHUNK_HEADER_LEN;
        let len = block_up(self.used as u64) as usize;
        let chunk = &mut self.buffer.as_mut()[..len];
        chunk[self.used..].fill(0);
        chunk[4..8].copy_from_slice(&(payload_len as u32).to_le_bytes());
        chunk[8..12].copy_from_slice(&self.chunks.to_le_bytes());
        chunk[12..16].copy_from_slice(&flags.to_le_bytes());
        self.chain = chunk_crc(self.chain, &chunk[4..CHUNK_HEADER_LEN], &chunk[CHUNK_HEADER_LEN..self.used]);
        chunk[0..4].copy_from_slice(&self.chain.to_le_bytes());
        let full = std::mem::replace(&mut self.buffer, self.file.buffer(CHUNK_LEN));
        let offset = BLOCK as u64 + u64::from(self.chunks) * CHUNK_LEN as u64;
        self.file.write(full, len, offset).await.map_err(SnapshotError::io("write", &self.tmp))?;
        self.chunks += 1;
        self.payload_len += payload_len as u64;
        self.used = CHUNK_HEADER_LEN;
        Ok(())
    }

    fn trailer(&self, metadata: &[u8]) -> Vec<u8> {
        let blocks = trailer_blocks(metadata.len());
        let mut trailer = vec![0; blocks * BLOCK];
        trailer[0..8].copy_from_slice(TRAILER_MAGIC);
        trailer[12..16].copy_from_slice(&self.chain.to_le_bytes());
        trailer[16..24].copy_from_slice(&self.payload_len.to_le_bytes());
        trailer[24..32].copy_from_slice(&u64::from(self.chunks).to_le_bytes());
        trailer[32..36].copy_from_slice(&(metadata.len() as u32).to_le_bytes());
        trailer[TRAILER_HEADER_LEN..TRAILER_HEADER_LEN + metadata.len()].copy_from_slice(metadata);
        let crc = crc32fast::hash(&trailer[12..TRAILER_HEADER_LEN + metadata.len()]);
        trailer[8..12].copy_from_slice(&crc.to_le_bytes());
        let footer_at = trailer.len() - FOOTER_LEN;
        let footer = &mut trailer[footer_at..];
        footer[0..8].copy_from_slice(FOOTER_MAGIC);
        footer[8..12].copy_from_slice(&(blocks as u32).to_le_bytes());
        let crc = crc32fast::hash(&footer[..12]);
        footer[12..16].copy_from_slice(&crc.to_le_bytes());
        trailer
    }
}
