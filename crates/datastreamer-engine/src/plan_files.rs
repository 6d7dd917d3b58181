//! The files that a physical plan reads.

use std::iter;

use datafusion::{
    datasource::{listing::PartitionedFile, physical_plan::FileScanConfig, source::DataSourceExec},
    physical_plan::ExecutionPlan,
};

use crate::{error::EngineError, fits::FitsScan, pinned::PinnedFile};

/// Returns the files of a plan's scans, and checks that they are in the state that the plan was
/// made from. Blocks for a `stat` per file.
///
/// # Errors
/// A file changed, or is gone.
pub(crate) fn pin_files(plan: &dyn ExecutionPlan) -> Result<Vec<PinnedFile>, EngineError> {
    let mut pinned = Vec::new();
    for plan in nodes(plan) {
        if let Some(scan) = plan.downcast_ref::<FitsScan>() {
            pinned.extend(scan.pin());
        }
        for file in scanned_files(plan) {
            let pin = file.extension::<PinnedFile>();
            let pin = pin.ok_or_else(|| {
                EngineError::data("internal error: a plan reads a file that was not compared")
            })?;
            pinned.push(pin.clone());
        }
    }
    pinned.iter().try_for_each(PinnedFile::check)?;
    Ok(pinned)
}

/// Returns the files that one node of a plan reads with a format of DataFusion's.
pub(crate) fn scanned_files(plan: &dyn ExecutionPlan) -> impl Iterator<Item = &PartitionedFile> {
    let source = plan.downcast_ref::<DataSourceExec>();
    let scan = source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
    let groups = scan.into_iter().flat_map(|scan| &scan.file_groups);
    groups.flat_map(|group| group.files())
}

/// Returns a plan and all plans below it.
pub(crate) fn nodes(plan: &dyn ExecutionPlan) -> impl Iterator<Item = &dyn ExecutionPlan> {
    let mut plans = vec![plan];
    iter::from_fn(move || {
        let plan = plans.pop()?;
        plans.extend(plan.children().into_iter().map(AsRef::as_ref));
        Some(plan)
    })
}
