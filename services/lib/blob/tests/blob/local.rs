//! What a local folder does beyond the conformance suite.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tidelog_blob::local::LocalStore;
use tidelog_blob::object_store::path::Path;
use tidelog_blob::object_store::{
    ObjectStore as _, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
};
use tidelog_blob::{BlobSettings, ErrorKind, Location, OpenError, classify, open};

fn create() -> PutOptions {
    PutOptions::from(PutMode::Create)
}

#[tokio::test]
async fn a_file_in_the_folders_place_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let location = Location::Folder(file.join("data"));
    let error = open(&location, &BlobSettings::default(), []).unwrap_err();
    assert!(matches!(error, OpenError::Folder { .. }), "{error}");
    assert!(error.to_string().contains("file/data"), "{error}");
}

#[tokio::test]
async fn many_writers_into_one_new_folder_all_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let puts = (0..32).map(|n| {
        let store = store.clone();
        async move {
            let path = Path::from(format!("seg/new/{n}"));
            store
                .put_opts(&path, PutPayload::from_static(b"x"), create())
                .await
        }
    });
    for end in futures::future::join_all(puts).await {
        end.unwrap();
    }
    assert_eq!(
        fs::read_dir(dir.path().join("seg/new")).unwrap().count(),
        32
    );
}

#[tokio::test]
async fn a_refused_create_leaves_the_object_and_no_staged_file() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let path = Path::from("a/x");
    store
        .put_opts(&path, PutPayload::from_static(b"first"), create())
        .await
        .unwrap();
    let error = store
        .put_opts(&path, PutPayload::from_static(b"other"), create())
        .await;
    assert_eq!(classify(&error.unwrap_err()), ErrorKind::AlreadyExists);
    assert_eq!(
        store.get(&path).await.unwrap().bytes().await.unwrap(),
        "first"
    );
    let names: Vec<_> = fs::read_dir(dir.path().join("a")).unwrap().collect();
    assert_eq!(names.len(), 1);
}

#[tokio::test]
async fn a_folder_that_may_not_be_written_is_told_as_denied() {
    let dir = tempfile::tempdir().unwrap();
    let store = LocalStore::open(dir.path()).unwrap();
    let sealed = dir.path().join("sealed");
    fs::create_dir(&sealed).unwrap();
    fs::set_permissions(&sealed, fs::Permissions::from_mode(0o555)).unwrap();
    // Who may write anywhere cannot be refused in this way.
    if fs::write(sealed.join("probe"), b"").is_ok() {
        return;
    }
    let path = Path::from("sealed/x");
    let end = store
        .put_opts(&path, PutPayload::from_static(b"x"), create())
        .await;
    assert_eq!(classify(&end.unwrap_err()), ErrorKind::Denied);
}

#[tokio::test]
async fn a_full_disk_is_told_as_full() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    // An object store cannot be made to write to the device, but the same error comes from the disk.
    let error = fs::write(full, b"x").unwrap_err();
    let error = tidelog_blob::object_store::Error::Generic {
        store: "LocalFileSystem",
        source: Box::new(error),
    };
    assert_eq!(classify(&error), ErrorKind::StorageFull);
}
