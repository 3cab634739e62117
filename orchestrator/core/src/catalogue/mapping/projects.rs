//! Projects are named by id, by name, or by domain and name, so they are looked up against what Keystone has.

use super::{Entry, Kind, Mapping, Unmapped, no_entry, taken, twice};
use rekindle_common::ZoneName;

/// A project, as a zone's Keystone has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Its id.
    pub id: String,
    /// Its name, unique in its domain alone.
    pub name: String,
    /// Its domain's id.
    pub domain_id: String,
    /// Its domain's name.
    pub domain: String,
}

impl Project {
    /// Whether a text of the file means it, among others perhaps.
    #[must_use]
    pub fn is_meant_by(&self, text: &str) -> bool {
        // A name may hold a colon itself, so the text is not taken apart.
        text == self.id
            || text == self.name
            || text == format!("{}:{}", self.domain, self.name)
            || text == format!("{}:{}", self.domain_id, self.name)
    }
}

/// One zone, as far as projects go.
#[derive(Debug, Clone, Copy)]
pub struct Side<'a> {
    /// Which.
    pub zone: &'a ZoneName,
    /// All of its projects. `None`: not known now. Then only entries by id help.
    pub projects: Option<&'a [Project]>,
}

impl<'a> Side<'a> {
    fn projects(&self, field: &str) -> Result<&'a [Project], Unmapped> {
        self.projects.ok_or_else(|| Unmapped::Unknown {
            field: field.to_owned(),
            zone: self.zone.clone(),
        })
    }

    /// The one project that a text means.
    pub(crate) fn find(&self, field: &str, text: &str) -> Result<&'a Project, Unmapped> {
        let all = self.projects(field)?;
        let meant: Vec<&Project> = all.iter().filter(|p| p.is_meant_by(text)).collect();
        match meant.as_slice() {
            [one] => Ok(one),
            [] => Err(Unmapped::NoSuch {
                field: field.to_owned(),
                kind: Kind::Projects,
                name: text.to_owned(),
                zone: self.zone.clone(),
            }),
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|p| format!("{}:{} ({})", p.domain, p.name, p.id))
                    .collect();
                Err(Unmapped::Ambiguous {
                    field: field.to_owned(),
                    why: format!(
                        "{text:?} may be {} of {}: write DOMAIN:NAME, or the id",
                        names.join(", "),
                        self.zone
                    ),
                })
            }
        }
    }
}

impl Mapping {
    /// What a project of one zone, by its id, is in another.
    ///
    /// # Errors
    /// [`Unmapped`]; `Unknown` where it depends on a Keystone that does not answer.
    pub fn project<'a>(
        &self,
        from: Side<'_>,
        id: &str,
        to: Side<'a>,
    ) -> Result<&'a Project, Unmapped> {
        let own = from
            .projects
            .and_then(|all| all.iter().find(|p| p.id == id));
        // Without that zone's list an entry by id is certain, and one by name may or may not be it.
        let means = |text: &str| match own {
            Some(p) => p.is_meant_by(text),
            None => text == id,
        };
        let entries = || self.projects.iter().enumerate();
        let mut of_it = entries().filter(|(_, e)| e.get(from.zone).is_some_and(|t| means(t)));
        if let Some((n, entry)) = of_it.next() {
            if let Some((other, _)) = of_it.next() {
                return Err(twice(Kind::Projects, n, other, from.zone, id));
            }
            // A name that means several of that zone's is no entry for any of them.
            if own.is_some()
                && let Some(text) = entry.get(from.zone)
            {
                from.find(&field(n, from.zone), text)?;
            }
            let Some(text) = entry.get(to.zone) else {
                return Err(no_entry(Kind::Projects, id, from.zone, to.zone));
            };
            return to.find(&field(n, to.zone), text);
        }
        let Some(own) = own else {
            return Err(match from.projects {
                None => Unmapped::Unknown {
                    field: "projects".to_owned(),
                    zone: from.zone.clone(),
                },
                Some(_) => Unmapped::NoSuch {
                    field: "projects".to_owned(),
                    kind: Kind::Projects,
                    name: id.to_owned(),
                    zone: from.zone.clone(),
                },
            });
        };
        if !self.same_name.contains(&Kind::Projects) {
            let name = format!("{}:{}", own.domain, own.name);
            return Err(no_entry(Kind::Projects, &name, from.zone, to.zone));
        }
        let same = to.same_name(own)?;
        // It may be the counterpart of another project.
        let claims = |e: &Entry| e.get(to.zone).is_some_and(|t| same.is_meant_by(t));
        match entries().find(|(_, e)| claims(e)) {
            Some((n, _)) => Err(taken(Kind::Projects, n, &own.name, from.zone, to.zone)),
            None => Ok(same),
        }
    }

    /// What is wrong with the list of projects in a zone that has these: names of nobody, or of several, and one project in two entries.
    #[must_use]
    pub fn check_projects(&self, side: Side<'_>) -> Vec<Unmapped> {
        let mut found = Vec::new();
        let mut met: Vec<(usize, &str)> = Vec::new();
        for (n, entry) in self.projects.iter().enumerate() {
            let Some(text) = entry.get(side.zone) else {
                continue;
            };
            match side.find(&field(n, side.zone), text) {
                Err(e) => found.push(e),
                Ok(project) => match met.iter().find(|(_, id)| *id == project.id) {
                    Some((before, _)) => {
                        found.push(twice(Kind::Projects, n, *before, side.zone, text));
                    }
                    None => met.push((n, &project.id)),
                },
            }
        }
        found
    }
}

impl<'a> Side<'a> {
    /// The project of the same name in the domain of the same name.
    fn same_name(&self, other: &Project) -> Result<&'a Project, Unmapped> {
        let all = self.projects("same_name")?;
        let found = all
            .iter()
            .find(|p| p.name == other.name && p.domain == other.domain);
        found.ok_or_else(|| Unmapped::NoSuch {
            field: "same_name".to_owned(),
            kind: Kind::Projects,
            name: format!("{}:{}", other.domain, other.name),
            zone: self.zone.clone(),
        })
    }
}

fn field(n: usize, zone: &ZoneName) -> String {
    format!("projects[{n}].{zone}")
}
