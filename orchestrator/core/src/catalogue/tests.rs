//! The rules, each on the smallest world that shows it; `properties` has what holds in every world, on a model of Cinder.

mod marks;
mod model;
mod properties;
mod rules;
mod sizes;
