//! Compression on the fly: gzip (RFC 1952) and zstd (RFC 8878), negotiated (RFC 9110, 12.5.3).
//!
//! Called by `response.rs`. The encoder is a stream of its own: it reads the plain stream on
//! another thread of the pool. Compression therefore runs in parallel to the source and never on
//! the event loop. If the plain stream fails, the coded one fails before the encoder can write its
//! trailer.

use std::{
    io::{self, Write},
    task::Poll,
};

use datastreamer::{ChunkReader, EndOnStop, StreamHandle, StreamOptions, StreamWriter};
use http::{HeaderMap, HeaderValue, header};
use tokio::runtime::Handle;

/// The level of gzip with the size of the usual `gzip -1`. The fastest level of zlib-rs has fixed codes:
/// it keeps 0.75 of a CSV file of floats, this one 0.49 (VOTable 0.54 and 0.38) for 1.7 times the CPU
/// time. Higher ones save a twentieth of that. The data is produced on the fly and read once.
const GZIP_LEVEL: u32 = 2;
/// zstd's fastest standard level: it makes smaller files than this level of gzip.
const ZSTD_LEVEL: i32 = 1;

/// A content coding of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Coding {
    /// gzip, which all clients can read.
    Gzip,
    /// zstd, which is twice as fast as gzip.
    Zstd,
}

impl Coding {
    /// Picks the coding that the client prefers by its `Accept-Encoding`. `None`: no coding.
    ///
    /// At equal weights zstd is preferred to gzip. A coding that is not named is not used, so a
    /// client that does not send the header gets uncoded bytes. `*` counts as gzip, unless gzip is
    /// named.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let (mut gzip, mut zstd, mut identity, mut others) = (None, None, None, None);
        let accepted = headers
            .get_all(header::ACCEPT_ENCODING)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','));
        for item in accepted {
            let mut parts = item.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(weight_thousandths).unwrap_or(1000);
            let named = match name.as_str() {
                "gzip" | "x-gzip" => &mut gzip,
                "zstd" => &mut zstd,
                "identity" => &mut identity,
                "*" => &mut others,
                _ => continue,
            };
            *named = Some(weight);
        }
        let (gzip, zstd) = (gzip.or(others).unwrap_or(0), zstd.unwrap_or(0));
        let (weight, coding) = match zstd >= gzip {
            true => (zstd, Self::Zstd),
            false => (gzip, Self::Gzip),
        };
        (weight > 0 && weight >= identity.unwrap_or(0)).then_some(coding)
    }

    /// Returns the value of `Content-Encoding`.
    pub(crate) fn header_value(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}

/// Parses a weight (RFC 9110, 12.4.2): `q=0.5` is 500.
fn weight_thousandths(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.split_once('=')?;
    if !name.trim().eq_ignore_ascii_case("q") {
        return None;
    }
    let weight: f32 = value.trim().parse().ok()?;
    Some((weight.clamp(0.0, 1.0) * 1000.0) as u16)
}

/// Compresses a stream, on its own thread of the pool in `options`.
///
/// Whenever the plain stream has no chunk ready, the encoder is flushed, so that bytes do not wait
/// for more. The coded stream shares the plain stream's place in the pool, and starts when the
/// plain stream is admitted. Its record has the same numbers of rows. A stop of the coded stream
/// stops the plain one at once. It is never a clean end, even with [`EndOnStop::Finish`], because
/// part of a coded file is not a file. Dropping the coded stream hangs up the plain one.
pub(crate) fn encode(plain: ChunkReader, coding: Coding, options: StreamOptions) -> ChunkReader {
    let source = plain.handle();
    // The encoder's thread polls an async source, which may need its runtime's timers and sockets.
    let runtime = Handle::try_current().ok();
    let coded = options
        .end_on_stop(EndOnStop::Abort)
        .length(None)
        .within_admitted_stream(&source)
        .stream_out(move |out| -> io::Result<()> {
            let _entered = runtime.as_ref().map(Handle::enter);
            let rows = Rows::new(&plain, out);
            match coding {
                Coding::Gzip => {
                    let level = flate2::Compression::new(GZIP_LEVEL);
                    let mut encoder = flate2::write::GzEncoder::new(&*out, level);
                    pump(plain, rows, &mut encoder, out)?;
                    encoder.finish().map(drop)
                }
                Coding::Zstd => {
                    let mut encoder = zstd::Encoder::new(&*out, ZSTD_LEVEL)?;
                    pump(plain, rows, &mut encoder, out)?;
                    encoder.finish().map(drop)
                }
            }
        });
    // A stop of the coded stream does not wake an encoder that waits for the next chunk, nor one
    // that waits with `plain` for a place. A stop of the plain stream does.
    let stop = coded.handle().stop_token();
    stop.on_stop(move |why| source.stop(why.clone())).keep();
    coded
}

/// Moves every chunk through the encoder. A failure of the plain stream fails the coded one: after a
/// flush, so that the bytes before the failure arrive, and before the encoder is dropped, because
/// flate2's then writes its trailer, which would make a truncated file look complete.
fn pump(
    mut plain: ChunkReader,
    mut rows: Rows,
    encoder: &mut impl Write,
    coded: &StreamWriter,
) -> io::Result<()> {
    loop {
        let next = match plain.try_next_chunk() {
            Poll::Ready(next) => next,
            Poll::Pending => {
                encoder.flush()?;
                plain.next_chunk_blocking()
            }
        };
        rows.pass_on();
        match next {
            Some(Ok(chunk)) => encoder.write_all(&chunk)?,
            Some(Err(error)) => {
                encoder.flush()?;
                return Err(coded.fail(error).into());
            }
            None => return Ok(()),
        }
    }
}

/// Copies the plain stream's row counts to the coded stream's record.
struct Rows {
    plain: StreamHandle,
    coded: StreamWriter,
    passed_on: u64,
}

impl Rows {
    fn new(plain: &ChunkReader, coded: &StreamWriter) -> Self {
        Self {
            plain: plain.handle(),
            coded: coded.clone(),
            passed_on: 0,
        }
    }

    fn pass_on(&mut self) {
        let record = self.plain.record();
        self.coded.add_rows(record.rows - self.passed_on);
        self.passed_on = record.rows;
        if let Some(expected) = record.rows_expected {
            self.coded.expect_rows(expected);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use datastreamer::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_stop_is_never_the_clean_end_of_a_coded_stream() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let endless = || {
                StreamOptions::new()
                    .end_on_stop(EndOnStop::Finish)
                    .stream_out(|out| {
                        while out.write_slice(b"for ever").is_ok() {
                            thread::sleep(Duration::from_millis(1));
                        }
                    })
            };
            let options = StreamOptions::new().end_on_stop(EndOnStop::Finish);
            let mut coded = encode(endless(), coding, options);
            coded.next_chunk_blocking().unwrap().unwrap();
            coded
                .handle()
                .stop(Error::new(ErrorKind::Stopped, "a test"));
            let error = coded.read_to_vec().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Stopped);
        }
    }

    fn negotiated(value: &str) -> Option<Coding> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_ENCODING, value.parse().unwrap());
        Coding::negotiate(&headers)
    }

    #[test]
    fn several_header_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT_ENCODING, "gzip;q=0.5".parse().unwrap());
        headers.append(header::ACCEPT_ENCODING, "zstd".parse().unwrap());
        assert_eq!(Coding::negotiate(&headers), Some(Coding::Zstd));
    }

    #[test]
    fn the_clients_preference_decides() {
        assert_eq!(Coding::negotiate(&HeaderMap::new()), None);
        for (value, coding) in [
            ("", None),
            ("identity", None),
            ("br", None),
            ("gzip", Some(Coding::Gzip)),
            ("gzip, deflate, br, zstd", Some(Coding::Zstd)),
            ("zstd;q=0.5, gzip", Some(Coding::Gzip)),
            ("gzip;q=0", None),
            ("*", Some(Coding::Gzip)),
            ("identity, gzip;q=0.5", None),
            ("GZIP;Q=1.0", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("gzip;q=0, *", None),
            ("*, gzip;q=0", None),
            ("gzip;q=0, zstd;q=0.1, *", Some(Coding::Zstd)),
            ("zstd;q=0, gzip", Some(Coding::Gzip)),
            ("*;q=0", None),
            ("identity;q=0, gzip;q=0.001", Some(Coding::Gzip)),
            ("gzip ; q=0.3 , zstd ; q=0.7", Some(Coding::Zstd)),
            ("gzip;q=0.5, identity;q=0.5", Some(Coding::Gzip)),
            ("gzip;q=x", Some(Coding::Gzip)),
            ("gzip;q=nan", None),
            (",,;", None),
        ] {
            assert_eq!(negotiated(value), coding, "{value}");
        }
    }
}
