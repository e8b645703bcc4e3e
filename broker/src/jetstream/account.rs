//! One account's share of JetStream: what it uses, and how often it called the API.
//!
//! Usage is exact at every moment: streams report each change of their bytes.

/// Usage and counters of an account. No limits are configurable yet: everything is limited by the server only.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Account {
    /// Bytes of memory streams.
    pub(crate) memory: u64,
    /// Bytes of file streams.
    pub(crate) storage: u64,
    /// Sum of `max_bytes` of memory streams.
    pub(crate) reserved_memory: u64,
    /// Sum of `max_bytes` of file streams.
    pub(crate) reserved_storage: u64,
    /// API calls.
    pub(crate) api_total: u64,
    /// API calls that were answered with an error.
    pub(crate) api_errors: u64,
}

impl Account {
    /// A stream's bytes went from `before` to `after`.
    pub(crate) fn changed(&mut self, memory: bool, before: u64, after: u64) {
        let used = if memory {
            &mut self.memory
        } else {
            &mut self.storage
        };
        *used = (*used + after).saturating_sub(before);
    }

    /// A stream's reservation went from `before` to `after`; unlimited reserves nothing.
    pub(crate) fn reserved(&mut self, memory: bool, before: i64, after: i64) {
        let sum = if memory {
            &mut self.reserved_memory
        } else {
            &mut self.reserved_storage
        };
        let positive = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
        *sum = (*sum + positive(after)).saturating_sub(positive(before));
    }
}

#[cfg(test)]
mod tests {
    use super::Account;

    #[test]
    fn adds_up() {
        let mut account = Account::default();
        account.changed(true, 0, 10);
        account.changed(false, 0, 7);
        account.changed(true, 10, 4);
        account.reserved(false, -1, 100);
        account.reserved(false, 100, -1);
        assert_eq!(
            (account.memory, account.storage, account.reserved_storage),
            (4, 7, 0)
        );
    }
}
