//! Which volume this pod has: `spec.volumeName` of its claim, asked by the pod itself (row 16).
//!
//! ```text
//! dataDir/volume.json    {"podUid": "…", "volumeId": "…"}
//! ```
//! A pod's volume never changes in the pod's life, so what it once learnt holds for every start of its
//! container: such a start needs no API server. A copy of the file in another pod has another pod's
//! UID and counts for nothing.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::client::Kube;

const FILE: &str = "volume.json";
const CALL_MAX: Duration = Duration::from_secs(2);

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bound {
    pod_uid: String,
    volume_id: String,
}

/// What an earlier start of this pod learnt. A damaged file is none.
pub(crate) fn bound_before(data_dir: &Path, pod_uid: &str) -> Option<String> {
    let bytes = fs::read(path(data_dir)).ok()?;
    let bound: Bound = serde_json::from_slice(&bytes).ok()?;
    (bound.pod_uid == pod_uid && !pod_uid.is_empty()).then_some(bound.volume_id)
}

/// Asks the API server; an error says why there is no answer yet.
pub(crate) async fn bound_now(kube: &Kube, pod: &str) -> anyhow::Result<String> {
    let name = format!("data-{pod}");
    let api: Api<PersistentVolumeClaim> = Api::namespaced(kube.client.clone(), &kube.namespace);
    let asked = name.clone();
    let call = kube.spawn(async move { timeout(CALL_MAX, api.get(&asked)).await });
    let claim = call
        .await
        .context("the call failed")?
        .with_context(|| format!("no answer within {CALL_MAX:?}"))??;
    let volume = claim.spec.and_then(|spec| spec.volume_name);
    volume
        .filter(|volume| !volume.is_empty())
        .with_context(|| format!("PersistentVolumeClaim {name} is bound to no volume"))
}

/// Keeps it for the next start of this pod.
pub(crate) fn remember(data_dir: &Path, pod_uid: &str, volume_id: &str) -> anyhow::Result<()> {
    let bound = Bound {
        pod_uid: pod_uid.to_owned(),
        volume_id: volume_id.to_owned(),
    };
    let unfinished = data_dir.join(format!("{FILE}.unfinished"));
    let mut file = File::create(&unfinished)?;
    file.write_all(&serde_json::to_vec(&bound)?)?;
    file.sync_all()?;
    fs::rename(&unfinished, path(data_dir))?;
    Ok(File::open(data_dir)?.sync_all()?)
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join(FILE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TempDir;

    #[test]
    fn container_that_starts_again_in_its_pod_knows_its_volume() {
        let folder = TempDir::new();
        assert_eq!(bound_before(folder.path(), "pod-1"), None);
        remember(folder.path(), "pod-1", "pv-1").unwrap();
        assert_eq!(
            bound_before(folder.path(), "pod-1").as_deref(),
            Some("pv-1")
        );
    }

    #[test]
    fn h26_copy_of_the_volume_in_another_pod_says_nothing() {
        let folder = TempDir::new();
        remember(folder.path(), "pod-1", "pv-1").unwrap();
        assert_eq!(bound_before(folder.path(), "pod-2"), None);
        assert_eq!(bound_before(folder.path(), ""), None);
    }

    #[test]
    fn damaged_file_says_nothing() {
        let folder = TempDir::new();
        fs::write(path(folder.path()), b"{\"podUid\":").unwrap();
        assert_eq!(bound_before(folder.path(), "pod-1"), None);
    }
}
