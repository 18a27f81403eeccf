//! What is heard of an append.

use tidelog_broker_engine::{AppendAnswer, AppendError, Appended};
use tidelog_env::Env;

use crate::world::soon;

/// The answer to an append.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) receiver: AppendAnswer,
    pub(crate) env: Env,
}

impl Answer {
    /// Whether nothing was answered yet.
    pub(crate) fn is_pending(&mut self) -> bool {
        use tokio::sync::oneshot::error::TryRecvError;
        match self.receiver.try_recv() {
            Err(TryRecvError::Empty) => true,
            Err(TryRecvError::Closed) => false,
            Ok(answer) => panic!("it was answered: {answer:?}"),
        }
    }

    /// Whether the batch is known to be appended, without any waiting.
    pub(crate) fn has_offset_now(&mut self) -> bool {
        matches!(self.receiver.try_recv(), Ok(Ok(_)))
    }

    /// Why the batch has failed, if it has already.
    pub(crate) fn error_now(&mut self) -> Option<AppendError> {
        self.receiver.try_recv().ok()?.err()
    }

    /// Whether it will never be answered.
    pub(crate) async fn stays_unanswered(self) -> bool {
        soon(&self.env, self.receiver).await.is_err()
    }

    pub(crate) async fn result(self) -> Result<Appended, AppendError> {
        let answer = soon(&self.env, self.receiver).await;
        answer.expect("every batch that was taken is answered")
    }

    /// The offset that the batch got.
    pub(crate) async fn offset(self) -> u64 {
        let appended = self.result().await.expect("it is appended");
        appended.base_offset.get()
    }

    /// Whether the batch was not stored, for sure.
    pub(crate) async fn fails_unstored(self) -> bool {
        matches!(self.result().await, Err(AppendError::NotStored { .. }))
    }
}
