//! The conformance suite on each store that needs no server, bare and with all wrappers.

use std::sync::Arc;

use tidelog_blob::faulty::{Fault, FaultRule, FaultyStore};
use tidelog_blob::object_store::ObjectStore;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::preflight::preflight;
use tidelog_blob::{
    BlobSettings, Location, Metrics, OpenedStore, Operation, Role, conformance, open, stack,
};
use tidelog_env::Env;

fn opened(location: &Location) -> OpenedStore {
    open(location, &BlobSettings::default(), []).unwrap()
}

/// Everything that a role would put around the store, hedges included.
fn stacked(store: Arc<dyn ObjectStore>, env: &Env) -> Arc<dyn ObjectStore> {
    let meter = Metrics::unregistered().meter(Role::Broker);
    stack(store, false, &BlobSettings::default(), &meter, env)
}

async fn conforms(location: &Location) {
    let env = Env::seeded(1);
    let opened = opened(location);
    preflight(
        opened.store.as_ref(),
        location,
        &opened.layout,
        env.rng.as_ref(),
    )
    .await
    .unwrap();
    conformance::run(Arc::clone(&opened.store), Path::from("bare"))
        .await
        .unwrap();
    let stacked = stacked(opened.store, &env);
    conformance::run(stacked, Path::from("stacked"))
        .await
        .unwrap();
}

#[tokio::test]
async fn memory_conforms() {
    conforms(&Location::Memory).await;
}

#[tokio::test]
async fn a_local_folder_conforms() {
    let dir = tempfile::tempdir().unwrap();
    conforms(&Location::Folder(dir.path().join("new/folder"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_with_passing_faults_conforms_behind_the_wrappers() {
    let env = Env::seeded(1);
    let faulty = FaultyStore::new(opened(&Location::Memory).store, Arc::clone(&env.clock));
    for operation in [Operation::Get, Operation::Head, Operation::List] {
        for fault in [Fault::SLOW_DOWN, Fault::Timeout, Fault::Hang] {
            faulty.inject(FaultRule::new(fault).on(operation).after(2).once());
        }
    }
    faulty.inject(
        FaultRule::new(Fault::Truncate(1))
            .on(Operation::Get)
            .times(2),
    );
    faulty.inject(FaultRule::new(Fault::INTERNAL).on(Operation::Put).times(2));
    faulty.inject(
        FaultRule::new(Fault::INTERNAL)
            .on(Operation::Delete)
            .times(2),
    );
    let store = stacked(Arc::new(faulty.clone()), &env);
    conformance::run(store, Path::from("p")).await.unwrap();
    assert!(faulty.injected()["status"] > 4, "{:?}", faulty.injected());
}

#[tokio::test]
async fn the_suite_finds_a_store_that_lies() {
    for (fault, operation, rule) in [
        (Fault::Lie, Operation::Put, "create is refused"),
        (Fault::FlipBit(5), Operation::Get, "create is refused"),
        (
            Fault::WrongRange(1),
            Operation::Get,
            "parts make one object",
        ),
        (Fault::Lie, Operation::List, "listings are complete"),
        (Fault::Lie, Operation::Delete, "what was deleted is gone"),
    ] {
        let env = Env::seeded(1);
        let faulty = FaultyStore::new(opened(&Location::Memory).store, env.clock);
        faulty.inject(FaultRule::new(fault).on(operation));
        let store: Arc<dyn ObjectStore> = Arc::new(faulty);
        let violation = conformance::run(store, Path::from("p")).await.unwrap_err();
        assert!(
            violation.check.contains(rule),
            "{fault:?} gave `{violation}`"
        );
    }
}
