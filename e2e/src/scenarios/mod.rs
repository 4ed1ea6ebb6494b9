//! All scenarios, in the order in which they run.

pub mod chart;
pub mod machine;

use crate::scenario::Scenario;

/// Every scenario. A new one has its line here.
pub const ALL: &[Scenario] = &[
    machine::VOLUMES,
    machine::NODE_LOST,
    machine::CONTROL_PLANE_LOST,
    chart::CHART,
    chart::HELM_TEST,
    chart::UNINSTALLED,
];
