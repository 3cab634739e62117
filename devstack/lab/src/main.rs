//! `lab`: both zones on one machine.
fn main() {}
