//! Opens files for DataFusion by their locations. Those of `object_store` are texts without control
//! characters; any other path is escaped as one.
//!
//! `pinned.rs` makes the locations of a plan's files, and the readers of DataFusion ask for them.

use std::{
    ffi::OsStr,
    fmt,
    fs::File,
    ops::Range,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetRange, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result, local::LocalFileSystem, path::Path as Location,
};
use futures_util::stream::BoxStream;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use tokio::task;

/// The first part of escaped locations. A path that begins so is escaped too.
const ESCAPED: &str = "%escaped";

/// Returns the location of an absolute path.
///
/// # Errors
/// The path is not absolute.
pub(crate) fn location(path: &Path) -> Result<Location> {
    match Location::from_absolute_path(path) {
        Ok(plain) if !plain.as_ref().starts_with(ESCAPED) => Ok(plain),
        Err(error) if !path.is_absolute() => Err(error.into()),
        _ => {
            let escaped = percent_encode(path.as_os_str().as_bytes(), NON_ALPHANUMERIC);
            Ok(Location::parse(format!("{ESCAPED}/{escaped}"))?)
        }
    }
}

/// Returns the path of an escaped location.
fn escaped(location: &Location) -> Option<PathBuf> {
    let escaped = location.as_ref().strip_prefix(ESCAPED)?.strip_prefix('/')?;
    let bytes: Vec<u8> = percent_decode_str(escaped).collect();
    Some(PathBuf::from(OsStr::from_bytes(&bytes)))
}

/// The files of this machine, by the locations of [`location`].
#[derive(Debug, Default)]
pub(crate) struct Files(LocalFileSystem);

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Opens a file. **Blocks.**
fn open(path: PathBuf, location: Location, options: &GetOptions) -> Result<GetResult> {
    let generic = |source| Error::Generic {
        store: "files",
        source,
    };
    let file = File::open(&path).map_err(|error| generic(error.into()))?;
    let metadata = file.metadata().map_err(|error| generic(error.into()))?;
    let size = metadata.len();
    let meta = ObjectMeta {
        location,
        last_modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH).into(),
        size,
        e_tag: None,
        version: None,
    };
    options.check_preconditions(&meta)?;
    let range = match &options.range {
        Some(range) => range
            .as_range(size)
            .map_err(|error| generic(error.into()))?,
        None => 0..size,
    };
    Ok(GetResult {
        payload: GetResultPayload::File(file, path),
        meta,
        range,
        attributes: Attributes::default(),
    })
}

#[async_trait]
impl ObjectStore for Files {
    async fn get_opts(&self, location: &Location, options: GetOptions) -> Result<GetResult> {
        let Some(path) = escaped(location) else {
            return self.0.get_opts(location, options).await;
        };
        let location = location.clone();
        task::spawn_blocking(move || open(path, location, &options)).await?
    }

    async fn get_ranges(&self, location: &Location, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if escaped(location).is_none() {
            return self.0.get_ranges(location, ranges).await;
        }
        let mut read = Vec::with_capacity(ranges.len());
        for range in ranges {
            let options = GetOptions::new().with_range(Some(GetRange::Bounded(range.clone())));
            read.push(self.get_opts(location, options).await?.bytes().await?);
        }
        Ok(read)
    }

    // Nothing here lists or writes tables; the trait has these as well.

    async fn put_opts(
        &self,
        location: &Location,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Location,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Location>>,
    ) -> BoxStream<'static, Result<Location>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Location>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Location>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Location, to: &Location, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_stands_for_one_path() {
        for (path, is_escaped) in [
            (&b"/data/a b%25.csv"[..], false),
            (b"/data/\xc3\xbc#?\\.csv", false),
            (b"/data/line\nbreak.csv", true),
            (b"/data/\xff.csv", true),
            (b"/%escaped/a.csv", true),
            (b"/%escaped/%2Fdata%2Fa%2Ecsv", true),
        ] {
            let path = Path::new(OsStr::from_bytes(path));
            let location = location(path).unwrap();
            let found = escaped(&location);
            assert_eq!(found.is_some(), is_escaped, "{path:?}");
            let found = found.or_else(|| Files::default().0.path_to_filesystem(&location).ok());
            assert_eq!(found.as_deref(), Some(path));
        }
        assert!(location(Path::new("a\n.csv")).is_err());
    }
}
