//! A way between two processes that can be closed.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Result;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Passes connections on. Closed, it takes bytes and passes none on, as a network does that loses packets:
/// nobody hears an error.
#[derive(Debug)]
pub struct Gate {
    address: SocketAddr,
    target: Arc<Mutex<Option<SocketAddr>>>,
    open: watch::Sender<bool>,
    _task: JoinSet<()>,
}

impl Gate {
    /// An open gate that leads nowhere yet.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (target, open) = (Arc::default(), watch::Sender::new(true));
        let mut task = JoinSet::new();
        task.spawn(accept(listener, Arc::clone(&target), open.subscribe()));
        Ok(Self {
            address,
            target,
            open,
            _task: task,
        })
    }

    /// Where it is entered.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sets where it leads.
    pub fn leads_to(&self, target: SocketAddr) {
        *self.target.lock() = Some(target);
    }

    /// Lets nothing more through.
    pub fn close(&self) {
        self.open.send_replace(false);
    }

    /// Lets everything through again; connections from before stay dead.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

async fn accept(
    listener: TcpListener,
    target: Arc<Mutex<Option<SocketAddr>>>,
    open: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        let target = *target.lock();
        connections.spawn(pass(client, target, open.clone()));
        while connections.try_join_next().is_some() {}
    }
}

/// Passes one connection on until it ends. When the gate is closed it stays, dead, until it is opened.
async fn pass(mut client: TcpStream, target: Option<SocketAddr>, mut open: watch::Receiver<bool>) {
    let passing = async {
        let Some(target) = target else {
            return;
        };
        if let Ok(mut server) = TcpStream::connect(target).await {
            // Either end may go at any time.
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        }
    };
    tokio::select! {
        biased;
        _ = open.wait_for(|open| !*open) => {}
        () = passing => return,
    }
    let _ = open.wait_for(|open| *open).await;
    drop(client);
}
