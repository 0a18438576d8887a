//! Everything that runs against the real binary or the whole repository.
fn main() {}
