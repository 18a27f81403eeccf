//! Answers on their way to the socket.

use std::sync::Arc;

use tidelog_env::clock::timeout;
use tidelog_kafka_codec::Rope;
use tokio::io::AsyncWriteExt as _;
use tokio::net::tcp::OwnedWriteHalf;

use super::Hold;
use crate::front::Front;
use crate::metrics::Closed;

/// Writes an answer piece by piece, and gives its memory back. A client that takes nothing for a while is
/// given up.
pub(super) async fn write(
    front: Arc<Front>,
    mut writer: OwnedWriteHalf,
    mut rope: Rope,
    holds: Vec<Hold>,
) -> Result<OwnedWriteHalf, Closed> {
    let clock = front.parts.env.clock.as_ref();
    let stall = front.parts.settings.stall_timeout;
    while !rope.is_empty() {
        let written = timeout(clock, stall, writer.write_buf(&mut rope)).await;
        let written = written.map_err(|_| Closed::Stalled)?;
        let written = written.map_err(|_| Closed::Failed)?;
        if written == 0 {
            return Err(Closed::Failed);
        }
        front.parts.metrics.bytes_out.inc_by(written as u64);
    }
    drop(holds);
    Ok(writer)
}
