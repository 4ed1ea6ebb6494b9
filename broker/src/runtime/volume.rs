//! The volume of a broker: its name, what it holds, a blank one formatted.
//!
//! ```text
//! name known? --> opened --> blank ----------------------------> formatted under that name
//!                   |------> blank, stamped with another name --> formatted anew
//!                   |------> of this place, or kept out: as it is
//!                   +------> a wish to recover alone, for the group it is in --> done, read again
//! ```
//! Before its name is known nothing is read, written or answered (row 16). Which volume fits is the
//! machine's word (`judge_volume`).

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use tandemmq_cluster::{NodeConfig, VolumeVerdict, judge_volume, recover_alone};
use tandemmq_journal::{Identity, Recovered, format, recover};
use tandemmq_model::{BootNonce, Incarnation, MemberId};
use tokio::time::{Instant, sleep};

use crate::config::{Config, Kubernetes};
use crate::http::Starting;
use crate::kubernetes::{self, Kube, Wish};
use crate::metrics::Metrics;
use crate::storage::Disk;

/// Between two questions for the volume's name.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Between two log lines about it.
const SAY_AGAIN: Duration = Duration::from_secs(30);

/// An open volume and what it holds.
pub(super) struct Opened {
    pub(super) storage: Disk,
    pub(super) recovered: Recovered,
}

/// The name of the volume of this process; none where volumes have none. Waits for as long as it takes.
pub(super) async fn wait_for_id(
    config: &Config,
    kube: Option<&Kube>,
    starting: &Starting,
) -> Option<String> {
    let (kube, at) = (kube?, config.kubernetes.as_ref()?);
    if let Some(known) = kubernetes::bound_before(&config.data_dir, &at.pod_uid) {
        return Some(known);
    }
    let mut said = None;
    loop {
        match ask(config, kube, at).await {
            Ok(volume) => {
                tracing::info!(volume, "the volume of this pod is known");
                return Some(volume);
            }
            Err(error) => {
                let text = format!("{error:#}");
                if said.is_none_or(|at: Instant| at.elapsed() >= SAY_AGAIN) {
                    tracing::warn!("waiting for the name of this pod's volume: {text}");
                    said = Some(Instant::now());
                }
                starting.wait_for("WaitingForVolume", text);
                sleep(ASK_AGAIN).await;
            }
        }
    }
}

async fn ask(config: &Config, kube: &Kube, at: &Kubernetes) -> anyhow::Result<String> {
    let volume = kubernetes::bound_now(kube, &config.broker_name).await?;
    kubernetes::remember(&config.data_dir, &at.pod_uid, &volume)
        .with_context(|| format!("cannot write to {}", config.data_dir.display()))?;
    Ok(volume)
}

/// What the volume holds; a blank one is formatted first.
pub(super) fn open(
    config: &Config,
    node: &NodeConfig,
    seed: u64,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Opened> {
    let storage = open_storage(config, seed, metrics)?;
    let Some(recovered) = read(&storage, node)? else {
        return format_blank(storage, node);
    };
    if judge_volume(node, &recovered.identity) != VolumeVerdict::FormatAnew {
        return Ok(Opened { storage, recovered });
    }
    let stamped = recovered.identity.volume_id.as_deref();
    tracing::warn!(
        stamped,
        "a blank volume was formatted as another one: it is formatted anew"
    );
    drop((storage, recovered));
    remove_journal(&config.data_dir)
        .with_context(|| format!("cannot clear {}", config.data_dir.display()))?;
    format_blank(open_storage(config, seed, metrics)?, node)
}

/// Removes a blank volume's journal: first out of the way as a whole, or a crash in the middle would
/// leave half of one, which no start could read.
fn remove_journal(data_dir: &Path) -> std::io::Result<()> {
    let aside = data_dir.join("journal.removed");
    if aside.exists() {
        std::fs::remove_dir_all(&aside)?;
    }
    std::fs::rename(data_dir.join("journal"), &aside)?;
    File::open(data_dir)?.sync_all()?;
    std::fs::remove_dir_all(&aside)
}

fn open_storage(config: &Config, seed: u64, metrics: &Metrics) -> anyhow::Result<Disk> {
    let folder = config.data_dir.join("journal");
    let written = metrics.disk_written_bytes.clone();
    Disk::open(config, &folder, seed, written)
        .with_context(|| format!("cannot open the journal in {}", folder.display()))
}

fn read(storage: &Disk, node: &NodeConfig) -> anyhow::Result<Option<Recovered>> {
    recover(storage, &node.journal).context("cannot recover the journal in dataDir")
}

fn format_blank(storage: Disk, node: &NodeConfig) -> anyhow::Result<Opened> {
    let member = MemberId {
        ordinal: node.ordinal,
        incarnation: Incarnation(random_u128()?),
    };
    tracing::info!(%member, "the volume is blank and is formatted");
    let identity = Identity {
        member,
        volume_id: node.volume_id.as_deref().map(str::to_owned),
        group: None,
        former: Vec::new(),
    };
    format(&storage, &identity).context("cannot format dataDir")?;
    let recovered =
        read(&storage, node)?.context("the volume is blank right after it was formatted")?;
    Ok(Opened { storage, recovered })
}

/// Row 19, if it is wished for and not done yet.
pub(super) fn recover_by_wish(
    opened: Opened,
    node: &NodeConfig,
    wish: Option<Wish>,
    boot: BootNonce,
) -> anyhow::Result<Opened> {
    if judge_volume(node, &opened.recovered.identity) != VolumeVerdict::Fits {
        return Ok(opened); // Another's volume: nothing is written to it.
    }
    let group = opened
        .recovered
        .identity
        .group
        .as_ref()
        .map(|group| group.id);
    let Some(wish) = wish.filter(|wish| Some(wish.from) == group) else {
        return Ok(opened);
    };
    let Opened { storage, .. } = opened;
    let epoch = recover_alone(&storage, &node.journal, wish.to, boot, wish.seen)
        .map_err(|error| anyhow!("cannot recover this volume as a group of its own: {error}"))?;
    tracing::warn!(
        from = %wish.from, to = %wish.to, epoch = epoch.0,
        "this volume is a group of its own now, as a person asked for: what it lacks is lost"
    );
    let recovered = read(&storage, node)?.context("the volume is blank after its recovery")?;
    Ok(Opened { storage, recovered })
}

fn random_u128() -> anyhow::Result<u128> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).context("the system gives no random bytes")?;
    Ok(u128::from_ne_bytes(bytes))
}
