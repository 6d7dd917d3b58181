//! The files that a physical plan reads.

use std::{iter, path::PathBuf};

use datafusion::{
    datasource::{physical_plan::FileScanConfig, source::DataSourceExec},
    object_store::ObjectMeta,
    physical_plan::ExecutionPlan,
};

use crate::{error::EngineError, fits::FitsScan, pinned::PinnedFile};

/// Pins the files of a plan's scans. Blocks for a `stat` a file.
pub(crate) fn pin_files(plan: &dyn ExecutionPlan) -> Result<Vec<PinnedFile>, EngineError> {
    let mut pinned = Vec::new();
    for plan in nodes(plan) {
        if let Some(scan) = plan.downcast_ref::<FitsScan>() {
            pinned.extend(scan.pin());
        }
        for (path, planned) in listed_files(plan) {
            pinned.push(PinnedFile::pin(path, planned)?);
        }
    }
    Ok(pinned)
}

/// The files that a scan of DataFusion's reads, and what it saw of them.
pub(crate) fn listed_files(
    plan: &dyn ExecutionPlan,
) -> impl Iterator<Item = (PathBuf, &ObjectMeta)> {
    let source = plan.downcast_ref::<DataSourceExec>();
    let files = source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
    let groups = files.into_iter().flat_map(|files| &files.file_groups);
    groups.flat_map(|group| group.files()).map(|file| {
        let path = PathBuf::from(format!("/{}", file.object_meta.location));
        (path, &file.object_meta)
    })
}

/// A plan, and all plans that it is made of.
pub(crate) fn nodes(plan: &dyn ExecutionPlan) -> impl Iterator<Item = &dyn ExecutionPlan> {
    let mut plans = vec![plan];
    iter::from_fn(move || {
        let plan = plans.pop()?;
        plans.extend(plan.children().into_iter().map(AsRef::as_ref));
        Some(plan)
    })
}
