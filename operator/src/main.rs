//! The operator's program.

fn main() {
    use kube::CustomResourceExt as _;
    println!(
        "{}",
        serde_json::to_string_pretty(&tandemmq_operator::api::BrokerCluster::crd())
            .expect("a CRD is JSON")
    );
}
