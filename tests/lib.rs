//! What the tests share: a raw client, real servers to compare with, processes to kill.
