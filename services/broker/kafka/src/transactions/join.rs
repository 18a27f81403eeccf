//! What is written joins its transaction before it is written (KIP-890).

use std::collections::BTreeSet;
use std::time::Duration;

use tidelog_env::Clock;
use tidelog_kafka_codec::ApiKey;
use tidelog_metadata_api::{
    TransactionError, TransactionWork, Transactions, TransactionsError, Verified,
};

use super::errors::{COMMIT_ADDS_FROM, PRODUCE_ADDS_FROM};
use crate::call::Call;

/// How long the end of the last transaction is waited for: most often it is told everywhere within it, and the client
/// would ask again much later.
const ENDING_WAIT_MAX: Duration = Duration::from_millis(100);
/// How often it is looked at meanwhile.
const ENDING_LOOK: Duration = Duration::from_millis(20);

impl Call {
    /// Whether what this request writes takes part in the producer's open transaction, and which that is. In versions
    /// whose clients leave it to the broker all of it joins, and the transaction begins if none is open. Only then may
    /// it be written, under the number that is answered.
    pub(crate) async fn join_transaction(
        &self,
        work: TransactionWork,
    ) -> Result<Verified, TransactionsError> {
        let adds_from = match self.key {
            ApiKey::Produce => PRODUCE_ADDS_FROM,
            _ => COMMIT_ADDS_FROM,
        };
        let transactions = self.front.engine().transactions();
        if self.version < adds_from {
            return transactions.verify(work).await;
        }
        add(transactions, self.front.parts.env.clock.as_ref(), work).await
    }
}

/// Adds, and has some patience with a transaction that is being ended.
async fn add(
    transactions: &dyn Transactions,
    clock: &dyn Clock,
    work: TransactionWork,
) -> Result<Verified, TransactionsError> {
    let until = clock.now() + ENDING_WAIT_MAX;
    loop {
        let added = transactions.add(work.clone()).await;
        let is_ending = matches!(
            added,
            Err(TransactionsError::Refused(TransactionError::Concurrent))
        );
        if is_ending && clock.now() < until {
            clock.sleep(ENDING_LOOK).await;
            continue;
        }
        return added.map(|number| Verified {
            number,
            missing: BTreeSet::new(),
        });
    }
}
