//! Frames, jute and connections. Knows no sessions.
