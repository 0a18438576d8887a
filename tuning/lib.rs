//! Cores, placement and what the host offers. Knows no server.
