//! The second pass over the journal: what the scan found good is handed out in order.
//!
//! Nothing is checked again; the bytes are those that the scan has just proved. What is encrypted
//! is decrypted here, and only here.

use super::scan::{DAMAGED, Scan, ScannedFile};
use super::window::Window;
use crate::error::StoreError;
use crate::format::{RECORD_HEADER, RecordHeader};
use crate::position::Lsn;

/// A record as it is found again.
#[derive(Debug)]
pub(crate) struct Walked<'a> {
    pub(crate) header: RecordHeader,
    /// `None` when the body is damaged.
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) start: Lsn,
    pub(crate) end: Lsn,
}

impl Scan {
    /// Visits every record that was not replaced, in order, of those files that are wanted.
    pub(crate) fn walk(
        &self,
        wanted: impl Fn(&ScannedFile) -> bool,
        visit: &mut dyn FnMut(&Walked<'_>),
    ) -> Result<(), StoreError> {
        let mut buffer = Vec::new();
        let mut opened = Vec::new();
        let cut = self.groups.any_cut();
        for file in self.files.iter().filter(|file| wanted(file)) {
            let mut bytes = Window::new(&*file.file, file.number, file.size, &mut buffer);
            for record in &file.records {
                let offset = record & !DAMAGED;
                let Some(header) = RecordHeader::again(bytes.get(offset, RECORD_HEADER)?) else {
                    continue;
                };
                let start = Lsn::new(file.number, offset);
                if cut && self.groups.is_replaced(&header, start) {
                    continue;
                }
                let good = record & DAMAGED == 0;
                let len = if good { header.body_len() } else { 0 };
                let end = Lsn::new(file.number, offset + header.size() as u32);
                let mut record = bytes.get(offset, RECORD_HEADER + len)?;
                let (mut header, mut good) = (header, good);
                if let (Some(key), true) = (&file.key, good) {
                    match key.open_record(header, record, offset, &mut opened) {
                        Some(plain) => (header, record) = (plain, &opened),
                        None => good = false,
                    }
                }
                let body = record.get(RECORD_HEADER..RECORD_HEADER + header.body_len());
                visit(&Walked {
                    header,
                    body: body.filter(|_| good),
                    start,
                    end,
                });
            }
        }
        Ok(())
    }
}
