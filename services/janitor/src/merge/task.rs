//! One task of merging, from its bytes to its end.

use std::sync::Arc;

use tidelog_format::location::Location;
use tidelog_metadata_api::MergeTask;

use super::failure::{Failure, Fault};
use super::plan::plan;
use super::worker::Worker;
use super::write::Built;

impl Worker {
    /// Does a task. What it ends with before its time is done anew by whoever gets the task next.
    pub(super) async fn task(&self, task: MergeTask) -> Result<(), Failure> {
        if !task.sparse.is_empty() {
            self.describe(&task).await?;
            return self.finish(task.id).await;
        }
        let task = Arc::new(task);
        let plan = plan(&task, self.parts.settings.memory_bytes)?;
        let _held = self.hold(plan.bytes).await;
        let inputs = self.inputs(&task, plan).await?;
        let built = self.built(&task, inputs).await?;
        self.tell_faults(&task, &built);
        if !built.writer.is_empty() {
            let name = self.store(task.bucket, &built.writer).await?;
            let merged = built.merged(task.bucket, name.segment);
            // The bytes are in the bucket: only the name is needed from here on.
            drop(built);
            self.swap(task.id, name.segment, merged).await?;
        }
        self.finish(task.id).await
    }

    /// Tells of what is missing or damaged (invariant I6). It stays where it is: nothing of it is merged, and readers of
    /// it are told.
    fn tell_faults(&self, task: &MergeTask, built: &Built) {
        for (run, extent, fault) in &built.left {
            let Some(run) = task.runs.get(*run) else {
                continue;
            };
            let Some(extent) = run.extents.get(*extent) else {
                continue;
            };
            let (object, position) = match extent.location {
                Location::Segment {
                    bucket,
                    segment,
                    position,
                    ..
                } => {
                    let path = self.parts.layout.segment(bucket, segment);
                    (path.to_string(), position)
                }
                Location::Inline { .. } | Location::Marker(_) => (String::new(), 0),
            };
            let (partition, offset) = (run.partition, extent.offsets.base);
            match fault {
                Fault::Missing => {
                    self.parts.metrics.run("missing");
                    tracing::error!(
                        object,
                        position,
                        %partition,
                        topic = %run.topic_name,
                        %offset,
                        "an object that the log names is missing: its partition is not merged"
                    );
                }
                Fault::Damaged(reason) => {
                    self.parts.metrics.run("damaged");
                    tracing::error!(
                        object,
                        position,
                        %partition,
                        topic = %run.topic_name,
                        %offset,
                        reason,
                        "bytes in the bucket are damaged: their partition is not merged"
                    );
                }
            }
        }
    }
}
