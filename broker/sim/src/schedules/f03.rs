//! F3: all members lose their power at one moment, under load, and come back in every order.

use crate::stage::{Judged, Stage};

const ORDERS: [[usize; 3]; 6] = [
    [0, 1, 2],
    [0, 2, 1],
    [1, 0, 2],
    [1, 2, 0],
    [2, 0, 1],
    [2, 1, 0],
];

pub(super) fn f3_a_power_cut_of_all_loses_nothing_in_any_order_of_return(
    stage: &mut Stage,
) -> Judged {
    for order in ORDERS {
        stage.master(None)?;
        stage.produce(5)?;
        stage.offer(10);
        stage.pass(3)?;
        for node in 0..3 {
            stage.power_cut(node);
        }
        for node in order {
            stage.start(node);
            stage.pass(700)?;
        }
        stage.master(None)?;
        stage.in_step()?;
    }
    stage.finish()
}
