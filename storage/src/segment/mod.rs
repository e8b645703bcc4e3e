//! Segments: sealed files with messages that outlived the journal, and tables to find them.

mod builder;
mod draft;
mod reader;
mod tables;
mod walk;

pub(crate) use builder::{NewRow, SegmentBuilder};
pub(crate) use reader::{SegmentError, SegmentReader};
pub(crate) use tables::{SectionTables, partition};
