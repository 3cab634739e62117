//! The decision: observation, detector, decision, plan, saga. No I/O, no clock.
