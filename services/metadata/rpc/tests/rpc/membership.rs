//! A member that joins through a socket, is lost, comes back, and leaves.

use std::sync::Arc;

use tidelog_metadata_api::*;
use tidelog_types::*;
use tokio::sync::oneshot;

use crate::fake::Fake;
use crate::proxy::Proxy;
use crate::world::*;

/// The `count`-th member that joined, and how its membership ends.
async fn joined(fake: &Arc<Fake>, count: usize) -> (Member, oneshot::Receiver<()>) {
    let mut joins = fake.joins.subscribe();
    let waited = joins.wait_for(|joins| *joins >= count);
    drop(
        tokio::time::timeout(LONG, waited)
            .await
            .expect("a test process answers")
            .expect("a test process answers"),
    );
    fake.said.lock().members.remove(0)
}

#[tokio::test]
async fn a_member_is_listed_as_it_is_lost_with_its_connection_and_leaves_by_its_word() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let proxy = Proxy::to(&server.address).await;
    let node = remote(&proxy.address).await;
    let me = Member {
        incarnation: Some(Incarnation::new(7)),
        ..member(9, Role::Broker, "")
    };
    let membership = Cluster::join(&node, me.clone()).await.unwrap();
    let (listed, ended) = joined(&fake, 1).await;
    assert_eq!(listed, me);
    proxy.cut();
    assert!(ended.await.is_err(), "it was lost without a word");
    let (again, ended) = joined(&fake, 2).await;
    assert_eq!(again, me);
    membership.leave();
    assert!(ended.await.is_ok());
}

#[tokio::test]
async fn a_dropped_membership_is_a_member_that_was_lost() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let router = router(&[&server], None).await;
    let membership = Cluster::join(&router, member(9, Role::Reader, ""))
        .await
        .unwrap();
    let (_, ended) = joined(&fake, 1).await;
    drop(membership);
    assert!(ended.await.is_err());
}

#[tokio::test]
async fn errors_about_members_come_back() {
    let fake = Fake::owning(&[0]);
    let server = active(&fake).await;
    let router = router(&[&server], None).await;
    let unknown = router.set_draining(member_id(3), true).await;
    assert_eq!(unknown, Err(ClusterError::UnknownMember(member_id(3))));
}
