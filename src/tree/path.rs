//! Paths: what a znode may be called, and where its parent's path ends.
//!
//! Flow       prep validates what a client named; the tree only ever sees canonical paths.
//! Invariant  a valid path starts with '/', has no empty component, no "." or "..", no '/' at its end (but the root's),
//!            and no character that ZooKeeper's `PathUtils` refuses.
//! Absent     normalisation, chroots (the client's business), a length limit (the frame's business).

/// The root.
pub const ROOT: &str = "/";

/// The path breaks a rule; clients are told BADARGUMENTS, never which rule.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidPath;

/// Checks `path` by ZooKeeper's rules.
///
/// # Errors
/// [`InvalidPath`] if any rule is broken.
pub fn validate(path: &str) -> Result<(), InvalidPath> {
    let Some(rest) = path.strip_prefix('/') else {
        return Err(InvalidPath);
    };
    if rest.is_empty() {
        return Ok(());
    }
    // Nearly every path is plain ASCII; those bytes need no decoding, and only '/' and '.' are special among them.
    let mut component_start = 0;
    let bytes = rest.as_bytes();
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'/' => {
                check_component(&bytes[component_start..at])?;
                component_start = at + 1;
            }
            0..=0x1f | 0x7f => return Err(InvalidPath),
            _ => {}
        }
    }
    check_component(&bytes[component_start..])?;
    if rest.is_ascii() || rest.chars().all(is_allowed) { Ok(()) } else { Err(InvalidPath) }
}

fn check_component(component: &[u8]) -> Result<(), InvalidPath> {
    match component {
        b"" | b"." | b".." => Err(InvalidPath),
        _ => Ok(()),
    }
}

/// Java checks UTF-16 units, so everything above U+FFFF falls as a surrogate.
fn is_allowed(c: char) -> bool {
    !matches!(c, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{d7ff}'..='\u{f8ff}' | '\u{fff0}'..) || c == '\u{d7ff}'
}

/// Parent path and name of a canonical path other than the root's: "/a/b" is ("/a", "b"), "/a" is ("/", "a").
///
/// # Panics
/// On a path without '/'.
pub fn split(path: &str) -> (&str, &str) {
    // Names are short: a search for the general case would take longer to begin than this takes.
    let slash = path.bytes().rposition(|byte| byte == b'/').expect("a canonical path has a slash");
    (if slash == 0 { ROOT } else { &path[..slash] }, &path[slash + 1..])
}

/// Parent path by ZooKeeper's rule for creates and deletes, on a path that nobody has validated: everything before the
/// last '/', where nothing means the root.
///
/// # Errors
/// [`InvalidPath`] without any '/' or with a NUL.
pub fn parent_of_unchecked(path: &str) -> Result<&str, InvalidPath> {
    match path.rfind('/') {
        Some(_) if path.bytes().any(|byte| byte == 0) => Err(InvalidPath),
        Some(0) => Ok(ROOT),
        Some(slash) => Ok(&path[..slash]),
        None => Err(InvalidPath),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_paths_pass() {
        for path in [
            "/",
            "/a",
            "/a/b",
            "/.a",
            "/a.",
            "/...",
            "/a/..b",
            "/a b",
            "/\u{e9}",
            "/\u{d7ff}",
            "/\u{f900}",
            "/\u{ffef}",
        ] {
            assert_eq!(validate(path), Ok(()), "{path:?}");
        }
    }

    #[test]
    fn invalid_paths_fall() {
        for path in
            ["", "a", "a/b", "//", "/a/", "/a//b", "/.", "/..", "/a/./b", "/a/..", "/a\u{0}", "/\u{1f}", "/\u{7f}"]
        {
            assert_eq!(validate(path), Err(InvalidPath), "{path:?}");
        }
        for path in
            ["/\u{9f}", "/\u{e000}", "/\u{f8ff}", "/\u{fff0}", "/\u{fffd}", "/\u{ffff}", "/\u{10000}", "/\u{1f600}"]
        {
            assert_eq!(validate(path), Err(InvalidPath), "{path:?}");
        }
    }

    #[test]
    fn parents_are_what_stands_before_the_last_slash() {
        assert_eq!(split("/a"), ("/", "a"));
        assert_eq!(split("/a/b"), ("/a", "b"));
        assert_eq!(parent_of_unchecked("/a/"), Ok("/a"));
        assert_eq!(parent_of_unchecked("/"), Ok("/"));
        assert_eq!(parent_of_unchecked("a"), Err(InvalidPath));
        assert_eq!(parent_of_unchecked("/a\0/b"), Err(InvalidPath));
    }
}
