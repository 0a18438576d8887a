//! What fuzz targets share: a memory budget per input, and checksums that mutations don't break.

pub mod budget;
pub mod mend;
