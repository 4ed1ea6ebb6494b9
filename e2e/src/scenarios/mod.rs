//! All scenarios, in the order in which they run.

pub mod chart;
pub mod faults;
pub mod founding;
pub mod lifecycle;
pub mod machine;
pub mod measure;
pub mod recovery;
pub mod refusals;

use crate::scenario::Scenario;

/// Every claim that must hold. A new one has its line here.
pub const ALL: &[Scenario] = &[
    machine::VOLUMES,
    machine::NODE_LOST,
    machine::CONTROL_PLANE_LOST,
    chart::CHART,
    chart::HELM_TEST,
    chart::UNINSTALLED,
    measure::SUITES,
    lifecycle::READY,
    refusals::WRONG_SPECS,
    refusals::LEAST_RIGHTS,
    refusals::STRANGERS,
    faults::KILLED,
    faults::DELETED,
    faults::OPERATOR_KILLED,
    faults::OPERATOR_SCALED,
    faults::ROLLED,
    faults::FORMAT_RAISED,
    faults::MAJORITY_DOWN,
    faults::VOLUMES_DELETED,
    faults::API_AWAY,
    faults::CUT_OFF,
    lifecycle::VOLUMES,
    lifecycle::NEIGHBOURS,
    founding::STUCK,
    founding::UNDER_FIRE,
    recovery::RECOVERED,
];

/// What is printed and not judged: with full counts, or by name.
pub const MEASUREMENTS: &[Scenario] = &[measure::FIGURES, measure::FIFTY];
