//! Checks of writes.

use bytes::Bytes;
use futures::future::join_all;
use futures::stream::{StreamExt as _, iter};
use object_store::{ObjectStore as _, ObjectStoreExt as _, PutPayload};

use super::{Checked, Place, ensure, ensure_kind};
use crate::errors::{ErrorKind, classify};

pub(super) async fn create_is_refused_if_the_object_exists(place: &Place) -> Checked {
    let path = place.path("create/once");
    place
        .create(&path, PutPayload::from_static(b"first"))
        .await?;
    let again = place
        .create(&path, PutPayload::from_static(b"second"))
        .await;
    ensure_kind(again, &[ErrorKind::AlreadyExists])?;
    let read = place.read(&path).await?;
    ensure(read == "first", || format!("the object became {read:?}"))?;
    place.store.delete(&path).await?;
    Ok(())
}

pub(super) async fn of_many_creators_one_wins(place: &Place) -> Checked {
    let path = place.path("create/race");
    let creators = (0_u8..8).map(|number| {
        let payload = PutPayload::from(vec![number; 4_096]);
        place.create(&path, payload)
    });
    let ends = join_all(creators).await;
    let mut winner = None;
    for (number, end) in ends.into_iter().enumerate() {
        match end {
            Ok(()) => {
                ensure(winner.is_none(), || "two creators won".to_owned())?;
                winner = Some(number);
            }
            Err(error) => {
                // A store may refuse one of two at once without saying which of them stands.
                let kind = classify(&error);
                let refused = matches!(kind, ErrorKind::AlreadyExists | ErrorKind::Conflict);
                ensure(refused, || format!("a creator failed otherwise: {error}"))?;
            }
        }
    }
    let read = place.read(&path).await?;
    let expected = winner.and_then(|number| u8::try_from(number).ok());
    ensure(
        expected.is_some_and(|number| read == vec![number; 4_096]),
        || format!("creator {winner:?} won, but the object is another's"),
    )?;
    place.store.delete(&path).await?;
    Ok(())
}

pub(super) async fn what_was_put_is_read_at_once(place: &Place) -> Checked {
    for (name, pieces) in [
        ("empty", vec![]),
        ("byte", vec![1]),
        ("pieces", vec![5, 0, 70_000, 1, 300_000, 17]),
    ] {
        let path = place.path(&format!("put/{name}"));
        let mut seed = 0_u8;
        let payload: PutPayload = pieces
            .into_iter()
            .map(|length| {
                let piece: Vec<u8> = (0..length)
                    .map(|_| {
                        seed = seed.wrapping_mul(29).wrapping_add(7);
                        seed
                    })
                    .collect();
                Bytes::from(piece)
            })
            .collect();
        let expected: Vec<u8> = payload.iter().flatten().copied().collect();
        place.create(&path, payload).await?;
        let read = place.read(&path).await?;
        ensure(read == expected, || format!("`{name}` is not what was put"))?;
        let size = place.store.head(&path).await?.size;
        ensure(size == expected.len() as u64, || {
            format!("`{name}` has size {size}")
        })?;
        place.store.delete(&path).await?;
    }
    Ok(())
}

pub(super) async fn parts_make_one_object(place: &Place) -> Checked {
    // The smallest part that S3 takes, save for the last.
    const PART: usize = 5 * 1024 * 1024;
    let path = place.path("parts/whole");
    let mut upload = place.store.put_multipart(&path).await?;
    let first = upload.put_part(vec![1; PART].into());
    let second = upload.put_part(vec![2; 1_000].into());
    for end in join_all([first, second]).await {
        end?;
    }
    ensure_kind(place.store.head(&path).await, &[ErrorKind::NotFound])?;
    upload.complete().await?;
    let around = PART as u64 - 2..PART as u64 + 2;
    let read = place.store.get_range(&path, around).await?;
    ensure(read == vec![1, 1, 2, 2], || {
        "the parts are not in order".to_owned()
    })?;
    place.store.delete(&path).await?;

    let gone = place.path("parts/aborted");
    let mut upload = place.store.put_multipart(&gone).await?;
    upload.put_part(vec![3; 10].into()).await?;
    upload.abort().await?;
    ensure_kind(place.store.head(&gone).await, &[ErrorKind::NotFound])
}

pub(super) async fn what_was_deleted_is_gone(place: &Place) -> Checked {
    let paths: Vec<_> = (0..5).map(|n| place.path(&format!("delete/{n}"))).collect();
    for path in &paths {
        place.create(path, PutPayload::from_static(b"x")).await?;
    }
    let locations = iter(paths.clone().into_iter().map(Ok)).boxed();
    let ends: Vec<_> = place.store.delete_stream(locations).collect().await;
    ensure(ends.len() == paths.len(), || {
        format!("{} answers", ends.len())
    })?;
    for end in ends {
        end?;
    }
    for path in &paths {
        ensure_kind(place.store.head(path).await, &[ErrorKind::NotFound])?;
    }
    place
        .create(&paths[0], PutPayload::from_static(b"again"))
        .await?;
    place.store.delete(&paths[0]).await?;
    Ok(())
}
