//! Empty tables, made by the programs that own them once for an environment and copied from then on.
//!
//! Making Nova's and Neutron's is a minute of one core and the same each time, and every zone of every lab needs them:
//!
//! ```text
//! PREFIX/tables/NAME.sql    what one service's databases were when its programs had just made them
//! ```
//!
//! They go with the environment, whose releases they are of. What is copied must not tell zones apart: no address, no password.

use std::fmt::Write as _;
use std::fs;

use super::SiteCtx;
use super::mariadb::{ask_root, tell_root};
use crate::error::{IoContext, Result};
use crate::layout::write_whole;
use crate::registry::lock_file;

/// Sees to the tables of a service in these databases: once for a zone, and by `programs` only where nobody kept any.
pub(super) fn make(
    ctx: &SiteCtx,
    name: &str,
    databases: &[&str],
    programs: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let done = ctx.dirs.data(name).join("tables");
    if done.exists() {
        return Ok(());
    }
    let dir = ctx.install()?.tables();
    fs::create_dir_all(&dir).context(|| format!("making {}", dir.display()))?;
    let kept = dir.join(format!("{name}.sql"));
    // The other zone, which starts at the same time, waits and copies.
    let _lock = lock_file(&dir.join(format!("{name}.lock")))?;
    match fs::read_to_string(&kept) {
        Ok(sql) => tell_root(ctx, sql)?,
        Err(_) => {
            programs()?;
            let texts = databases.iter().map(|database| dump(ctx, database));
            write_whole(&kept, &texts.collect::<Result<String>>()?)?;
        }
    }
    fs::write(&done, "").context(|| format!("marking the tables of {name} as made"))
}

/// The statements that make that database again, with what is in it.
fn dump(ctx: &SiteCtx, database: &str) -> Result<String> {
    let ask = |sql: &str| ask_root(ctx, &format!("USE {database}; {sql}"));
    let columns = ask(&format!(
        "SELECT table_name, GROUP_CONCAT(CONCAT('QUOTE(`', column_name, '`)') ORDER BY ordinal_position) \
         FROM information_schema.columns WHERE table_schema = '{database}' GROUP BY table_name"
    ))?;
    let tables: Vec<(&str, &str)> = columns.lines().filter_map(|l| l.split_once('\t')).collect();
    let mut questions = String::new();
    for (table, quoted) in &tables {
        // Writing to a String cannot fail.
        let _ = write!(
            questions,
            "SHOW CREATE TABLE `{table}`; \
             SELECT CONCAT('INSERT INTO `{table}` VALUES (', CONCAT_WS(',', {quoted}), ')') FROM `{table}`;"
        );
    }
    let mut sql = format!(
        "SET FOREIGN_KEY_CHECKS = 0;\nDROP DATABASE IF EXISTS {database};\n\
         CREATE DATABASE {database} CHARACTER SET utf8mb4;\nUSE {database};\n"
    );
    sql.extend(ask(&questions)?.lines().map(statement));
    Ok(sql)
}

/// A row of the client's answers as a statement: a row of values is one already, and a table's has its name before it. The client
/// writes a line's end as `\n` and a backslash as two.
fn statement(row: &str) -> String {
    let text = match row.split_once('\t') {
        Some((_table, create)) => create,
        None => row,
    };
    let (mut plain, mut chars) = (String::new(), text.chars());
    while let Some(c) = chars.next() {
        plain.push(match c {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some('t') => '\t',
                Some(other) => other,
                None => '\\',
            },
            other => other,
        });
    }
    plain + ";\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_a_statement_again_with_its_own_backslashes() {
        for (row, expected) in [
            (
                "a\tCREATE TABLE `a` (\\n  `b` int\\n)",
                "CREATE TABLE `a` (\n  `b` int\n);\n",
            ),
            (
                r"INSERT INTO `a` VALUES ('1','x\\'y',NULL)",
                "INSERT INTO `a` VALUES ('1','x\\'y',NULL);\n",
            ),
        ] {
            assert_eq!(statement(row), expected);
        }
    }
}
