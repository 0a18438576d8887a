//! Drops steps and requests from a diverging plan as long as it still diverges.
//!
//! Invariant  the result diverges, though perhaps elsewhere than the original.

use std::time::{Duration, Instant};

use super::report::{Divergence, replay};
use super::step::{Plan, Step};
use crate::server::Kind;

/// How long one divergence is shrunk. Each try starts two servers.
const LIMIT: Duration = Duration::from_secs(240);

/// The smallest plan that was found in the time there is.
pub fn shrink(found: Box<Divergence>, kinds: [&Kind; 2]) -> Box<Divergence> {
    let deadline = Instant::now() + LIMIT;
    let mut best = found;
    // Halves first, then ever smaller chunks; the last step is the one that showed it.
    let mut chunk = best.plan.steps.len() / 2;
    while chunk > 0 {
        let mut start = 0;
        while start < best.plan.steps.len() {
            if Instant::now() > deadline {
                return best;
            }
            let mut steps = best.plan.steps.clone();
            let end = (start + chunk).min(steps.len());
            steps.drain(start..end);
            match diverges(&best.plan, steps, kinds) {
                Some(smaller) => best = smaller,
                None => start += chunk,
            }
        }
        chunk = if chunk > best.plan.steps.len() { best.plan.steps.len() / 2 } else { chunk / 2 };
    }
    shrink_batches(best, kinds, deadline)
}

fn shrink_batches(mut best: Box<Divergence>, kinds: [&Kind; 2], deadline: Instant) -> Box<Divergence> {
    let mut index = 0;
    while index < best.plan.steps.len() {
        let mut request = 0;
        while request < best.plan.steps[index].requests().len() && Instant::now() < deadline {
            let mut steps = best.plan.steps.clone();
            let may_be_empty = matches!(steps[index], Step::Connect { .. });
            let Some(requests) = steps[index].requests_mut() else { break };
            requests.remove(request);
            if requests.is_empty() && !may_be_empty {
                break;
            }
            match diverges(&best.plan, steps, kinds) {
                Some(smaller) => best = smaller,
                None => request += 1,
            }
            if index >= best.plan.steps.len() {
                break;
            }
        }
        index += 1;
    }
    best
}

fn diverges(plan: &Plan, steps: Vec<Step>, kinds: [&Kind; 2]) -> Option<Box<Divergence>> {
    if steps.is_empty() {
        return None;
    }
    replay(&Plan { steps, ..plan.clone() }, kinds).err()
}
