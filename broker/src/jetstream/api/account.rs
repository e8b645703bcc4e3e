//! INFO: what the account uses, of what it may use.

use jetwake_protocol::jetstream::account::{AccountInfo, AccountLimits, AccountTier, ApiStats};
use jetwake_protocol::jetstream::responses::AccountInfoResponse;
use jetwake_protocol::jetstream::{API_LEVEL, ApiError};

use crate::jetstream::api::{Call, Outcome};

impl Call<'_> {
    /// INFO.
    pub(crate) fn account_info(&mut self) -> Result<Outcome<AccountInfoResponse>, ApiError> {
        let used = *self.core.account(self.account);
        let (mut streams, mut consumers) = (0, 0);
        for stream in self.core.streams.of(self.account) {
            streams += 1;
            consumers += stream.consumers.visible() as u64;
        }
        let info = AccountInfo {
            tier: AccountTier {
                memory: used.memory,
                store: used.storage,
                reserved_memory: used.reserved_memory,
                reserved_store: used.reserved_storage,
                streams,
                consumers,
                limits: AccountLimits::UNLIMITED,
            },
            domain: self.core.settings.domain.clone().unwrap_or_default(),
            api: ApiStats {
                level: API_LEVEL,
                total: used.api_total,
                errors: used.api_errors,
                inflight: 0,
            },
            ..AccountInfo::default()
        };
        Ok(Outcome::Now(AccountInfoResponse { info: Some(info) }))
    }
}
