//! Claims about the decision table; what recovery does with a disk stands in `crate::tests`.

use super::*;

#[test]
fn exactly_one_row_fits_each_case() {
    let mut used = [0; TABLE.len()];
    for kind in [Kind::Zero, Kind::Bad, Kind::Newer] {
        for goes_on in [false, true] {
            for below_mark in [false, true] {
                let fits: Vec<_> = (0..TABLE.len())
                    .filter(|row| TABLE[*row].fits(kind, goes_on, below_mark))
                    .collect();
                assert_eq!(
                    fits.len(),
                    1,
                    "{kind:?}, {goes_on}, {below_mark}: rows {fits:?}"
                );
                used[fits[0]] += 1;
                assert_eq!(decide(kind, goes_on, below_mark), TABLE[fits[0]].step);
            }
        }
    }
    assert!(
        used.iter().all(|count| *count > 0),
        "a row that never fits: {used:?}"
    );
}

#[test]
fn nothing_below_the_mark_is_ever_cut() {
    for kind in [Kind::Zero, Kind::Bad] {
        for goes_on in [false, true] {
            let step = decide(kind, goes_on, true);
            assert!(
                matches!(step, Step::Damaged | Step::NextSegment),
                "{kind:?}: {step:?}"
            );
        }
    }
}
