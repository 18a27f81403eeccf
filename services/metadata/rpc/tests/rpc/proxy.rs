//! A wire between two processes that a test can cut or freeze.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone, Copy, Debug, Default)]
struct Wire {
    /// Connections made before the last cut are gone.
    cuts: u64,
    /// Nothing goes through, and nobody is told.
    is_frozen: bool,
}

/// Passes connections on to one address.
#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: String,
    wire: watch::Sender<Wire>,
}

impl Proxy {
    pub(crate) async fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a test process answers");
        let address = listener
            .local_addr()
            .expect("a test process answers")
            .to_string();
        let (wire, watched) = watch::channel(Wire::default());
        let target = target.to_owned();
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let Ok(far) = TcpStream::connect(&target).await else {
                    continue;
                };
                let (near_read, near_write) = near.into_split();
                let (far_read, far_write) = far.into_split();
                tokio::spawn(pass(near_read, far_write, watched.clone()));
                tokio::spawn(pass(far_read, near_write, watched.clone()));
            }
        });
        Self { address, wire }
    }

    /// Ends every connection; new ones go through.
    pub(crate) fn cut(&self) {
        self.wire.send_modify(|wire| wire.cuts += 1);
    }

    pub(crate) fn freeze(&self) {
        self.wire.send_modify(|wire| wire.is_frozen = true);
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut wire: watch::Receiver<Wire>) {
    let cuts = wire.borrow().cuts;
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let now = *wire.borrow_and_update();
        if now.cuts > cuts {
            return;
        }
        tokio::select! {
            changed = wire.changed() => {
                if changed.is_err() {
                    return;
                }
            }
            read = from.read(&mut buffer), if !now.is_frozen => match read {
                Ok(count) if count > 0 => {
                    if to.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
                _ => return,
            },
        }
    }
}
