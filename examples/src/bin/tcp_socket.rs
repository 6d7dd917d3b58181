//! A plain TCP socket: the client sends a line with a name, the server sends that file and closes.
//! (This is the Gopher protocol, which curl supports: `0` is the type *text*, the rest is the line.)
//!
//! ```sh
//! cargo run -p datastreamer-examples --bin tcp_socket
//! curl gopher://127.0.0.1:3003/0/stars.csv
//! curl gopher://127.0.0.1:3003/0/broken # curl: (56) Recv failure: Connection reset by peer
//! ```
//!
//! Here the end of the connection is the end of the file, so only a reset can show that a file is
//! truncated.

use std::{
    env,
    io::{self, Write},
};

use datastreamer::{ChunkReader, Error, ErrorKind, stream_out};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
};

/// The longest line that is read.
const LINE_BYTES_MAX: u64 = 1024;

#[tokio::main]
async fn main() -> io::Result<()> {
    let address = env::args().nth(1).unwrap_or("127.0.0.1:3003".into());
    let listener = TcpListener::bind(address).await?;
    println!("gopher://{}", listener.local_addr()?);
    loop {
        let (mut socket, peer) = listener.accept().await?;
        tokio::spawn(async move {
            match answer(&mut socket).await {
                Ok(bytes) => eprintln!("{peer}: {bytes} bytes"),
                Err(error) => {
                    eprintln!("{peer}: {error}");
                    // After this, dropping the socket sends a reset.
                    let _gone = socket.set_zero_linger();
                }
            }
        });
    }
}

async fn answer(socket: &mut TcpStream) -> Result<u64, Error> {
    let mut line = String::new();
    BufReader::new(&mut *socket)
        .take(LINE_BYTES_MAX)
        .read_line(&mut line)
        .await
        .map_err(Error::consumer_failed)?;
    // `Ok` means that the source has finished and that the socket has taken every byte.
    let bytes = file(line.trim_end()).write_to_async(socket).await?;
    socket.shutdown().await.map_err(Error::consumer_failed)?;
    Ok(bytes)
}

fn file(name: &str) -> ChunkReader {
    match name {
        "/stars.csv" => stream_out(|out| {
            writeln!(out, "id,name")?;
            for id in 0..200_000 {
                writeln!(out, "{id},star {id}")?; // blocks while the client is slow
            }
            Ok::<(), io::Error>(())
        }),
        "/broken" => stream_out(|out| {
            for id in 0..20_000 {
                writeln!(out, "{id},star {id}")?;
            }
            Err::<(), _>(io::Error::other("the database is gone"))
        }),
        _ => stream_out(|_| Err::<(), _>(Error::new(ErrorKind::SourceFailed, "no such file"))),
    }
}
