//! Checks of reads.

use object_store::{GetOptions, GetRange, ObjectStore as _, ObjectStoreExt as _, PutPayload};

use super::{Checked, Place, ensure, ensure_kind};
use crate::errors::ErrorKind;

/// Length of the object whose ranges are read: more than one page of a file, and no round number.
const LENGTH: u64 = 10_007;

fn body() -> Vec<u8> {
    (0..LENGTH).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

pub(super) async fn ranges_are_exact(place: &Place) -> Checked {
    let path = place.path("ranges/object");
    let body = body();
    place.create(&path, PutPayload::from(body.clone())).await?;
    for (range, start, end) in [
        (GetRange::Bounded(0..1), 0, 1),
        (GetRange::Bounded(4_000..9_000), 4_000, 9_000),
        (GetRange::Bounded(LENGTH - 1..LENGTH), LENGTH - 1, LENGTH),
        // What lies behind the object is left out.
        (
            GetRange::Bounded(LENGTH - 10..LENGTH + 10),
            LENGTH - 10,
            LENGTH,
        ),
        (GetRange::Offset(LENGTH - 5), LENGTH - 5, LENGTH),
        (GetRange::Suffix(64), LENGTH - 64, LENGTH),
        (GetRange::Suffix(LENGTH * 2), 0, LENGTH),
    ] {
        let shown = format!("{range:?}");
        let options = GetOptions::new().with_range(Some(range));
        let result = place.store.get_opts(&path, options).await?;
        let announced = result.range.clone();
        ensure(announced == (start..end), || {
            format!("{shown} gave {announced:?}")
        })?;
        let size = result.meta.size;
        ensure(size == LENGTH, || {
            format!("{shown} said the size is {size}")
        })?;
        let read = result.bytes().await?;
        let expected = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| body.get(start..end));
        ensure(Some(read.as_ref()) == expected, || {
            format!("{shown} gave other bytes")
        })?;
    }
    let behind = place.store.get_range(&path, LENGTH..LENGTH + 1).await;
    ensure_kind(behind, &[ErrorKind::Range])?;
    let parts = place
        .store
        .get_ranges(&path, &[9..12, 5_000..5_001])
        .await?;
    let expected = [&body[9..12], &body[5_000..5_001]];
    ensure(parts == expected, || {
        "several ranges gave other bytes".to_owned()
    })?;
    place.store.delete(&path).await?;
    Ok(())
}

pub(super) async fn what_is_missing_is_not_found(place: &Place) -> Checked {
    let path = place.path("missing/object");
    ensure_kind(place.store.get(&path).await, &[ErrorKind::NotFound])?;
    ensure_kind(place.store.head(&path).await, &[ErrorKind::NotFound])?;
    ensure_kind(
        place.store.get_range(&path, 0..5).await,
        &[ErrorKind::NotFound],
    )?;
    let names = place.names(&place.path("missing")).await?;
    ensure(names.is_empty(), || format!("listed {names:?}"))
}

pub(super) async fn listings_are_complete_and_keep_to_the_prefix(place: &Place) -> Checked {
    let names = ["list/a/1", "list/a/2", "list/ab/1", "list/b"];
    let paths: Vec<_> = names.iter().map(|name| place.path(name)).collect();
    for path in &paths {
        place.create(path, PutPayload::from_static(b"xyz")).await?;
    }
    let all = place.names(&place.path("list")).await?;
    let expected: Vec<_> = paths.iter().map(ToString::to_string).collect();
    ensure(all == expected, || format!("listed {all:?}"))?;
    // A prefix ends where a name of the path does: `list/a` is not a prefix of `list/ab`.
    let some = place.names(&place.path("list/a")).await?;
    ensure(some == expected[..2], || {
        format!("below `list/a` listed {some:?}")
    })?;
    let level = place
        .store
        .list_with_delimiter(Some(&place.path("list")))
        .await?;
    ensure(
        level.common_prefixes.len() == 2 && level.objects.len() == 1 && level.objects[0].size == 3,
        || format!("one level gave {level:?}"),
    )?;
    for path in &paths {
        place.store.delete(path).await?;
    }
    Ok(())
}
