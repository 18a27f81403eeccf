//! Asks the network whether a process that has been silent for a moment is gone.

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tidelog_env::Clock;
use tidelog_env::clock::timeout;
use tidelog_metadata::PeerProbe;
use tokio::net::TcpStream;

/// Who does not answer within this time may be there.
const PATIENCE: Duration = Duration::from_millis(500);

/// Connects to where the process listened. The system answers for a process that stands still, and refuses for
/// one that is gone.
#[derive(Debug)]
pub(super) struct Connecting {
    pub(super) clock: Arc<dyn Clock>,
}

#[async_trait]
impl PeerProbe for Connecting {
    async fn is_refused(&self, address: &str) -> bool {
        let connected = timeout(self.clock.as_ref(), PATIENCE, TcpStream::connect(address)).await;
        matches!(connected, Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused)
    }
}

#[cfg(test)]
mod tests {
    use tidelog_env::Env;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_process_is_gone_where_nobody_listens_and_not_where_nobody_answers() {
        let clock = Env::system().clock;
        let probe = Connecting { clock };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        // Nobody accepts, as in a process that stands still.
        assert!(!probe.is_refused(&address).await);
        drop(listener);
        assert!(probe.is_refused(&address).await);
        assert!(!probe.is_refused("no such host:1").await);
    }
}
