//! An object store: a file that is produced on the fly becomes a complete object, or no object.
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin object_store_upload -- /tmp/objects
//! curl file:///tmp/objects/stars.csv | tail -1
//! cargo run -p datastreamer-examples --bin object_store_upload -- /tmp/objects broken; echo $?
//! ```
//!
//! Here the store is a directory. With the features `aws`, `gcp` or `azure` of `object_store` it
//! can be a bucket; nothing else changes. Give a bucket a lifecycle rule that removes unfinished
//! uploads, in case this process is killed.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use datastreamer::{StreamOptions, StreamWriter};
use datastreamer_object_store::{UploadOptions, upload};
use object_store::{local::LocalFileSystem, path::Path};

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args_os().skip(1);
    let directory = arguments.next().map_or(env::temp_dir(), PathBuf::from);
    let (name, source): (_, Source) = match arguments.next() {
        Some(word) if word == "broken" => ("broken.csv", write_stars_and_fail),
        _ => ("stars.csv", write_stars),
    };
    fs::create_dir_all(&directory)?;
    let store = LocalFileSystem::new_with_prefix(&directory)?;

    let chunks = StreamOptions::new()
        // How long the store may take nothing: longer than it may retry.
        .consumer_stall(Duration::from_secs(300))
        .stream_out(source);
    // 5 MiB is S3's minimum; at most five such parts are in memory.
    let options = UploadOptions::new().part_bytes(5 << 20);
    let uploaded = upload(chunks, &store, &Path::from(name), options).await?;

    let object = directory.join(name);
    let (bytes, parts) = (uploaded.bytes, uploaded.parts);
    println!("{}: {bytes} bytes in {parts} parts", object.display());
    Ok(())
}

type Source = fn(&mut StreamWriter) -> io::Result<()>;

fn write_stars(out: &mut StreamWriter) -> io::Result<()> {
    writeln!(out, "id,name")?;
    for id in 0..1_000_000 {
        writeln!(out, "{id},star {id}")?; // blocks while the store is slow
    }
    Ok(())
}

fn write_stars_and_fail(out: &mut StreamWriter) -> io::Result<()> {
    write_stars(out)?;
    Err(io::Error::other("the database is gone"))
}
