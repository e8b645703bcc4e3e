//! The `jetwake` binary.

fn main() {}
