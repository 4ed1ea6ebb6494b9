//! The disk alone: 4 KiB writes into a zero-filled file, an fdatasync after each, by one thread and
//! by three at once, as three brokers on one disk do it.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::cli::bench::stats::Summary;

/// Bytes of one write.
const WRITE_BYTES: usize = 4 << 10;

/// Bytes of a file; longer than a probe writes, so that no write grows it.
const FILE_BYTES: usize = 32 << 20;

/// How long each half takes.
pub(super) struct Plan {
    pub(super) time: Duration,
}

/// Both halves.
pub(super) struct Probe {
    pub(super) alone: Summary,
    pub(super) three: Summary,
}

/// Probes in that folder.
pub(super) async fn run(plan: &Plan, folder: &Path) -> anyhow::Result<Probe> {
    let folder = folder.to_owned();
    let time = plan.time;
    let probe = move || -> std::io::Result<Probe> {
        Ok(Probe {
            alone: together(&folder, 1, time)?,
            three: together(&folder, 3, time)?,
        })
    };
    Ok(tokio::task::spawn_blocking(probe).await??)
}

fn together(folder: &Path, threads: usize, time: Duration) -> std::io::Result<Summary> {
    let paths: Vec<PathBuf> = (0..threads)
        .map(|thread| folder.join(format!("probe.{thread}")))
        .collect();
    for path in &paths {
        let file = File::create(path)?;
        file.write_all_at(&vec![0; FILE_BYTES], 0)?;
        file.sync_all()?;
    }
    let durations = std::thread::scope(|scope| {
        let threads: Vec<_> = paths
            .iter()
            .map(|path| scope.spawn(move || write_for(path, time)))
            .collect();
        let mut all = Vec::new();
        for thread in threads {
            all.extend(thread.join().expect("a probe does not panic")?);
        }
        std::io::Result::Ok(all)
    });
    for path in &paths {
        std::fs::remove_file(path)?;
    }
    Ok(Summary::of(&durations?))
}

fn write_for(path: &Path, time: Duration) -> std::io::Result<Vec<Duration>> {
    let file = File::options().write(true).open(path)?;
    let block = [0x5a; WRITE_BYTES];
    let mut durations = Vec::new();
    let begun = Instant::now();
    let places = (0..FILE_BYTES / WRITE_BYTES).cycle();
    for place in places {
        let start = Instant::now();
        file.write_all_at(&block, (place * WRITE_BYTES) as u64)?;
        file.sync_data()?;
        durations.push(start.elapsed());
        if begun.elapsed() >= time {
            break;
        }
    }
    Ok(durations)
}
