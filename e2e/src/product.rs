//! The product on a cluster: its images on every node, its chart installed, as a user would.

use anyhow::Result;

use crate::cluster::{Cluster, GIVEN};
use crate::image;

/// Namespace of the operator.
pub const NAMESPACE: &str = "tandemmq-system";
/// Name of the release.
pub const RELEASE: &str = "tandemmq";

/// With a given cluster, whose nodes we cannot reach: the images that it can pull.
const GIVEN_IMAGES: [(&str, &str); 2] = [
    ("E2E_OPERATOR_IMAGE", "operator.image"),
    ("E2E_BROKER_IMAGE", "broker.image"),
];

/// Brings images and chart of this tree onto the cluster and waits until the operator is ready.
pub fn install(cluster: &Cluster) -> Result<()> {
    install_with(cluster, &[])
}

/// The same with more words for Helm.
pub fn install_with(cluster: &Cluster, more: &[&str]) -> Result<()> {
    let mut images = Vec::new();
    match cluster {
        Cluster::Own(_) => {
            cluster.load_images(&image::product()?)?;
            cluster.load_images(&image::more()?)?;
        }
        Cluster::Given(..) => {
            for (variable, value) in GIVEN_IMAGES {
                let image = std::env::var(variable).map_err(|_| {
                    anyhow::anyhow!(
                        "{GIVEN} is set: set {variable} to an image that this cluster can pull"
                    )
                })?;
                images.push(format!("--set={value}={image}"));
            }
        }
    }
    let chart = image::tree().join("charts/tandemmq").display().to_string();
    let mut words = vec![
        "upgrade",
        "--install",
        RELEASE,
        &chart,
        "--namespace",
        NAMESPACE,
        "--create-namespace",
    ];
    words.extend(["--wait", "--timeout=2m"]);
    words.extend(images.iter().map(String::as_str));
    words.extend(more);
    cluster.helm(&words).map(|_| ())
}
