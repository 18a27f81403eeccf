//! Lists.

use tidelog_metadata_api::{
    CommittingMember, GroupFilter, GroupKind, GroupListing, GroupState, Groups, GroupsError,
};

use super::{alone, commit, joins, name};
use crate::world::{Process, World, partition};

async fn list(process: &Process, filter: &GroupFilter, count: usize) -> Vec<GroupListing> {
    let mut all = Vec::new();
    let mut after = Vec::new();
    loop {
        let page = process.list_groups(filter, &after, count).await;
        let page = page.expect("the owner");
        all.extend(page.groups);
        if page.next.is_empty() {
            return all;
        }
        after = page.next;
    }
}

#[tokio::test(start_paused = true)]
async fn lists_show_each_group_once_whatever_the_pages() {
    let mut world = World::new();
    world.shards = 4;
    let process = world.open().await;
    for number in 0..10 {
        let group = format!("g{number}");
        let nobody = CommittingMember::nobody();
        let done = commit(&process.service, &group, nobody, partition(0), 1).await;
        assert_eq!(done, Ok(()));
    }
    alone(&process.service, "classic").await;
    let joined = process.consumer_heartbeat(joins("consumer", "a")).await;
    joined.expect("it joins");
    for count in [1, 3, 100] {
        let mut listed = list(&process, &GroupFilter::default(), count).await;
        listed.sort_unstable_by(|a, b| a.group.cmp(&b.group));
        assert_eq!(listed.len(), 12, "{count}");
        let of = |group: &str| {
            let found = listed.iter().find(|listing| listing.group == name(group));
            found.expect("it is listed").clone()
        };
        let simple = of("g3");
        assert_eq!(
            (simple.kind, simple.state),
            (GroupKind::Classic, GroupState::Empty)
        );
        assert_eq!(simple.protocol_type, "");
        let classic = of("classic");
        assert_eq!(classic.state, GroupState::Stable);
        assert_eq!(classic.protocol_type, "consumer");
        assert_eq!(of("consumer").kind, GroupKind::Consumer);
    }
    let filter = GroupFilter {
        states: vec![GroupState::Stable],
        kinds: vec![GroupKind::Consumer],
    };
    assert_eq!(list(&process, &filter, 5).await.len(), 1);
    let nonsense = process.list_groups(&GroupFilter::default(), &[1], 5).await;
    assert!(matches!(nonsense, Err(GroupsError::InvalidRequest { .. })));
}
