//! What the cores of a cluster do together.

#[cfg_attr(
    not(test),
    expect(dead_code, reason = "the driver of groups will use it")
)]
pub(crate) mod sync;
