//! Segments: sealed files with messages that outlived the journal, and tables to find them.

mod builder;
mod reader;

pub(crate) use builder::SegmentBuilder;
pub(crate) use reader::{Section, SegmentError, SegmentReader};
