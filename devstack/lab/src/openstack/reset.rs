//! A zone's Cinder as it was when it was new, for the next test. What lies in Ceph is not looked at.

use std::collections::BTreeSet;

use super::Cinder;
use super::setup::{NO_CLUSTER, Setup};
use crate::error::Result;
use crate::services::mariadb::ask_cinder;

/// Tables that hold what `cinder-manage db sync` wrote, or what a running service keeps there of itself.
const KEPT: [&str; 6] = [
    "alembic_version",
    "quota_classes",
    "services",
    "volume_types",
    "group_types",
    "group_type_specs",
];

impl Cinder<'_> {
    /// Forgets every volume, snapshot, group, message and volume type, and where the backends failed over to, and gives
    /// the usual backend back. Images are left where they are: with them gone too it is [`crate::Lab::reset_volumes`].
    ///
    /// # Errors
    /// The database does not answer, or cinder-volume does not come up.
    pub fn reset(&self) -> Result<()> {
        self.while_stopped(&Setup::Alone(self.usual()), |ctx| {
            let tables = ask_cinder(ctx, "SHOW TABLES")?;
            ask_cinder(ctx, &forget_all(tables.lines())).map(drop)
        })
    }

    /// The usual backends, serving from their own zone, wherever a test left them.
    pub(crate) fn make_usual(&self) -> Result<()> {
        let usual = Setup::Alone(self.usual());
        if self.setup()? == usual && ask_cinder(self.ctx(), LED_ASTRAY)?.trim() == "0" {
            return Ok(());
        }
        self.while_stopped(&usual, |ctx| {
            ask_cinder(ctx, &format!("{LED_HOME}; {NO_CLUSTER}")).map(drop)
        })
    }
}

const LED_ASTRAY: &str = "SELECT COUNT(*) FROM services WHERE deleted = 0 AND `binary` = 'cinder-volume' \
     AND (disabled OR frozen OR active_backend_id IS NOT NULL)";
/// cinder-volume writes a row anew when it starts and finds none.
const LED_HOME: &str = "UPDATE services SET deleted = 1, deleted_at = UTC_TIMESTAMP() \
     WHERE deleted = 0 AND `binary` = 'cinder-volume'";

const NOT_CINDERS: &str = "name <> 'default_cgsnapshot_type'";

fn forget_all<'a>(tables: impl Iterator<Item = &'a str>) -> String {
    let kept = BTreeSet::from(KEPT);
    let mut sql = String::from("SET FOREIGN_KEY_CHECKS = 0;");
    for table in tables.map(str::trim).filter(|t| !kept.contains(t)) {
        sql.push_str(&format!(" DELETE FROM `{table}`;"));
    }
    sql.push_str(" DELETE FROM volume_types WHERE name <> '__DEFAULT__';");
    // Without the type that Cinder makes with its tables nothing can be made in a generic group: a KeyError, seen in 29.
    sql.push_str(&format!(" DELETE FROM group_type_specs WHERE group_type_id IN (SELECT id FROM group_types WHERE {NOT_CINDERS});"));
    sql.push_str(&format!(" DELETE FROM group_types WHERE {NOT_CINDERS};"));
    sql.push_str(" DELETE FROM services WHERE `binary` = 'cinder-volume';");
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_services_need_to_go_on_is_kept() {
        let sql = forget_all(
            [
                "alembic_version",
                "quota_classes",
                "services",
                "volumes",
                "group_types",
            ]
            .into_iter(),
        );
        assert!(!sql.contains("`group_types`"), "{sql}");
        assert!(sql.contains("DELETE FROM `volumes`;"), "{sql}");
        for kept in ["alembic_version", "quota_classes", "`services`"] {
            assert!(!sql.contains(kept), "{sql}");
        }
        assert!(
            sql.contains("services WHERE `binary` = 'cinder-volume'"),
            "{sql}"
        );
        let own = "group_types WHERE name <> 'default_cgsnapshot_type'";
        assert!(sql.contains(own), "{sql}");
    }
}
