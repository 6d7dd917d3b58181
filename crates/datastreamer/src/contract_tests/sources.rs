//! Sources that succeed, fail, stall or misbehave.

use std::{
    io,
    sync::{Arc, Mutex, mpsc::channel},
    thread,
    time::Duration,
};

use crate::{Error, ErrorKind, StreamWriter};

use super::{fill_noise, wait::DEADLINE};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Any source.
pub type Source = Box<dyn FnOnce(&mut StreamWriter) -> Result<(), BoxError> + Send>;

/// The text of the error of [`fails_after`] and of the panic of [`panics_after`].
pub const FAILURE: &str = "row 7: no such column";

/// Writes `bytes` bytes of noise in writes of at most `write_bytes`, then succeeds.
pub fn noise_source(bytes: u64, write_bytes: usize) -> Source {
    Box::new(move |out| Ok(write_noise(out, bytes, write_bytes)?))
}

/// Writes the pieces, one write each, then succeeds.
pub fn writes<P: AsRef<[u8]> + Send + 'static>(pieces: Vec<P>) -> Source {
    Box::new(move |out| {
        for piece in &pieces {
            out.write_slice(piece.as_ref())?;
        }
        Ok(())
    })
}

/// Writes `bytes` bytes of noise, then fails.
pub fn fails_after(bytes: u64, write_bytes: usize) -> Source {
    Box::new(move |out| {
        write_noise(out, bytes, write_bytes)?;
        Err(io::Error::other(FAILURE).into())
    })
}

/// Writes `bytes` bytes of noise, then panics.
pub fn panics_after(bytes: u64, write_bytes: usize) -> Source {
    Box::new(move |out| {
        write_noise(out, bytes, write_bytes)?;
        panic_quietly()
    })
}

/// Writes noise until the stream is stopped.
pub fn endless(write_bytes: usize) -> Source {
    Box::new(move |out| Ok(write_noise(out, u64::MAX, write_bytes)?))
}

/// Writes nothing, waits for the stop, then returns its reason.
pub fn silent_until_stopped() -> Source {
    Box::new(|out| {
        let (tell, told) = channel();
        out.on_stop(move |why| drop(tell.send(why.clone()))).keep();
        Err(told.recv_timeout(DEADLINE)?.into())
    })
}

/// Writes nothing and ignores stops for this long, then succeeds.
pub fn deaf(time: Duration) -> Source {
    Box::new(move |_| {
        thread::sleep(time);
        Ok(())
    })
}

/// Writes noise and ignores failed writes until there were `refusals` of them, then returns
/// success. Each failure is recorded.
pub fn swallows_stop(refusals: usize, noted: Arc<Mutex<Vec<ErrorKind>>>) -> Source {
    Box::new(move |out| {
        let mut buffer = [0; 1000];
        let mut written = 0;
        while noted.lock().unwrap().len() < refusals {
            fill_noise(written, &mut buffer);
            match out.write_slice(&buffer) {
                Ok(()) => written += buffer.len() as u64,
                Err(error) => noted.lock().unwrap().push(error.kind()),
            }
        }
        Ok(())
    })
}

fn write_noise(out: &StreamWriter, bytes: u64, write_bytes: usize) -> Result<(), Error> {
    let mut buffer = vec![0; write_bytes];
    let mut written = 0;
    while written < bytes {
        let piece = (bytes - written).min(write_bytes as u64) as usize;
        fill_noise(written, &mut buffer[..piece]);
        out.write_slice(&buffer[..piece])?;
        written += piece as u64;
    }
    Ok(())
}

/// Panics without a message on standard error, because the test expects the panic.
fn panic_quietly() -> ! {
    std::panic::resume_unwind(Box::new(FAILURE))
}
