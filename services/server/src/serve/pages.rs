//! The pages of this process: what it keeps of segments, for itself as a broker and for others as a reader.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use tidelog_blob::{ClusterLayout, Metrics, OpenedStore, Role};
use tidelog_cache::{BucketPages, CacheMetrics, NearPages, PageCache};
use tidelog_env::Env;
use tidelog_metadata_rpc::Parts;
use tidelog_reader::{
    ReaderMetrics, ReaderParts, ReaderServer, Tier, TierMetrics, TierParts, TierSettings,
};
use tidelog_runtime::MemoryPlan;
use tidelog_runtime::settings::Settings;
use tidelog_types::{ClusterId, MemberId, Role as MemberRole};
use tonic::service::Routes;

use super::assemble::Site;
use super::beside::Beside;
use super::part_settings::{CacheShares, disk_settings};
use super::peers::PeerTls;
use super::storage;
use crate::cli::Result;

/// The pages, and how their memory is divided.
#[derive(Debug)]
pub(super) struct Pages {
    pub(super) cache: PageCache,
    pub(super) shares: CacheShares,
}

impl Pages {
    /// Those of a process that has any.
    pub(super) async fn open(
        settings: &Settings,
        plan: &MemoryPlan,
        cluster: ClusterId,
        env: &Env,
        registry: &mut Registry,
    ) -> Result<Option<Self>> {
        let roles = settings.roles;
        if !roles.has(MemberRole::Broker) && !roles.has(MemberRole::Reader) {
            return Ok(None);
        }
        let shares = CacheShares::of(settings, plan);
        let disk = disk_settings(settings, shares, cluster)?;
        let metrics = CacheMetrics::new(registry);
        let cache = PageCache::open(shares.pools(), disk.as_ref(), env, metrics).await;
        Ok(Some(Self { cache, shares }))
    }

    /// What a reader serves on the port for members; nothing if the process is none.
    pub(super) fn routes(
        &self,
        settings: &Settings,
        env: &Env,
        (opened, beside, layout, cluster): (&OpenedStore, &Beside, &ClusterLayout, ClusterId),
        blob: &Metrics,
        registry: &mut Registry,
    ) -> Routes {
        if !settings.roles.has(MemberRole::Reader) {
            return Routes::default();
        }
        let meter = blob.meter(Role::Reader);
        let objects = storage::for_segments(opened, settings, &meter, env);
        let objects = beside.around(objects, layout, &meter, env);
        let metrics = ReaderMetrics::new(registry);
        let reader = ReaderServer::new(ReaderParts {
            cluster,
            pages: self.cache.clone(),
            bucket: BucketPages::new(objects, layout.clone(), metrics.gets.clone()),
            in_flight_bytes: self.shares.serving(),
            metrics,
        });
        reader.routes()
    }
}

/// The readers of the zone, as the broker of this process uses them; none where it is all there is.
pub(super) fn readers(
    site: &mut Site<'_>,
    pages: &Pages,
    parts: &Parts,
    me: MemberId,
) -> Result<Option<Arc<dyn NearPages>>> {
    let settings = site.settings;
    if !settings.is_clustered() {
        return Ok(None);
    }
    let offers = usize::try_from(pages.shares.offers()).unwrap_or(usize::MAX);
    let tier = TierParts {
        env: site.env.clone(),
        cluster: site.cluster,
        me,
        zone: settings.cluster.zone.clone(),
        views: parts.cluster.watch(),
        own: pages.cache.clone(),
        settings: TierSettings {
            tls: PeerTls::load(settings)?.map(|tls| tls.client()),
            patience: settings.fetch.reader_patience.get(),
            offer_bytes: offers,
            ..TierSettings::default()
        },
        metrics: TierMetrics::new(&mut site.registry),
    };
    let tier = Tier::start(tier, site.env.supervisor.token());
    Ok(Some(Arc::new(tier)))
}
