//! What is done to buckets that have numbers.

use prometheus_client::registry::Registry;
use tidelog_blob::buckets::{self, MainBucket, Place, Registered};
use tidelog_blob::{Meter, Role};
use tidelog_env::Env;
use tidelog_runtime::Exit;
use tidelog_runtime::settings::Settings;

use crate::cli::{CliError, Result};
use crate::serve::{beside, storage};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    Adopt,
    Forget,
}

/// Takes what settings name for a bucket of the cluster; gives its location.
pub(super) async fn adopt(settings: &Settings, name: &str, env: &Env) -> Result<String> {
    run(settings, name, env, Deed::Adopt).await
}

/// Lets go of a bucket that is empty.
pub(super) async fn forget(settings: &Settings, name: &str, env: &Env) -> Result<()> {
    if beside::is_used(settings, name) {
        let message =
            format!("a class of `storage.classes` uses bucket `{name}`: take it from all");
        return Err(CliError::usage(message));
    }
    run(settings, name, env, Deed::Forget).await.map(|_| ())
}

async fn run(settings: &Settings, name: &str, env: &Env, deed: Deed) -> Result<String> {
    let meter = meter();
    let main = storage::open(settings)?;
    let objects = storage::for_segments(&main, settings, &meter, env);
    let (cluster, layout) = storage::find(&main, objects.as_ref()).await?;
    let main = MainBucket {
        objects: objects.as_ref(),
        names: &main.layout,
        layout: &layout,
        cluster,
        location: &storage::place(&main),
    };
    let registered = find(main, name).await?;
    let (opened, blob) = beside::open(settings, name)?;
    let objects = beside::wrapped(&opened, &blob, &meter, env);
    let location = storage::place(&opened);
    let place = Place {
        objects: objects.as_ref(),
        names: &opened.layout,
        location: &location,
    };
    let supported = storage::supported();
    match deed {
        Deed::Adopt => buckets::adopt(main, &registered, place, &supported)
            .await
            .map_err(beside::refused)?,
        Deed::Forget => {
            let entered = buckets::enter(main, &registered, place, &supported, None).await;
            entered.map_err(beside::refused)?;
            let forgotten = buckets::forget(main, &registered, place).await;
            forgotten.map_err(beside::refused)?;
        }
    }
    Ok(location)
}

fn meter() -> Meter {
    tidelog_blob::Metrics::register(&mut Registry::default()).meter(Role::Store)
}

async fn find(main: MainBucket<'_>, name: &str) -> Result<Registered> {
    let known = buckets::read(main.objects, main.layout).await;
    let mut known = known.map_err(beside::refused)?.into_iter();
    known.find(|known| known.name == name).ok_or_else(|| {
        let message = format!("the cluster has no bucket `{name}` beside its main one");
        CliError::other(Exit::NotFound, message)
    })
}
