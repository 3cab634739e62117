//! Observes both zones, leads by an etcd lease, decides, plans, executes, resumes.
