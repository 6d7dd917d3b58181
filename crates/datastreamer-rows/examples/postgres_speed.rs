//! Prints how many rows of a query this process takes per CPU second, decoded into Arrow.
//!
//! `postgres_speed URL SQL`: see `datastreamer_rows::postgres`.

use std::{env, error::Error, fs, time::Instant};

use datastreamer_rows::{
    parameters::{Bound, Parameters, PositionalQuery},
    postgres::{PostgresOptions, PostgresPool},
};

/// Ticks of the kernel's account of CPU time, per second (`USER_HZ`, proc(5)).
const TICKS: f64 = 100.0;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(url), Some(sql)) = (arguments.next(), arguments.next()) else {
        return Err("postgres_speed URL SQL".into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()?;
    let pool = PostgresPool::new(PostgresOptions::new(url), runtime.handle().clone())?;
    let query = PositionalQuery::new(&sql, &Parameters::default())?;
    let (start, cpu_before) = (Instant::now(), cpu_seconds()?);
    let (mut rows, mut bytes) = (0, 0);
    for batch in pool.query(&query, &Bound::default())? {
        let batch = batch?;
        rows += batch.num_rows();
        bytes += batch.get_array_memory_size();
    }
    let cpu = cpu_seconds()? - cpu_before;
    println!(
        "{rows} rows, {bytes} bytes, {:.2} s, {cpu:.2} CPU s: {:.2} M rows per CPU s",
        start.elapsed().as_secs_f64(),
        rows as f64 / cpu / 1e6
    );
    Ok(())
}

/// User's and kernel's share of this process.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let text = fs::read_to_string("/proc/self/stat")?;
    // The second field may hold anything, in parentheses.
    let fields = text.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: Result<Vec<f64>, _> = ticks.map(str::parse).collect();
    Ok(ticks?.iter().sum::<f64>() / TICKS)
}
