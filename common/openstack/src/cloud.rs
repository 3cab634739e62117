//! One zone's OpenStack: a token for each scope, the way to each service, and when a call is made again.
//!
//! ```text
//!   read  ── once ── passing error ── again, with growing pauses, within the call's deadline
//!   write ── once
//!   once  ── token of the scope ── endpoint ── microversion ── call ── 401: a new token, and the call once more
//! ```
//!
//! A write is never repeated: whether it took effect is for the caller to look at. The one exception is 401, which changes nothing.

mod answer;

use crate::{
    barbican::Barbican,
    cinder::Cinder,
    config::{CloudConfig, InvalidConfig},
    error::{Call, CloudError},
    http::{Ask, Http},
    keystone::{Holder, Identity, Project, Token, projects},
    login::{self, Login},
    neutron::Neutron,
    nova::Nova,
    placement::Placement,
    roots::Roots,
    url::Url,
    version::{self, Dialect, Microversion},
};
pub(crate) use answer::{judge, not_understood};
use backon::{ExponentialBuilder, Retryable};
use bytes::Bytes;
use hyper::{Method, header::HeaderName, header::HeaderValue};
use rekindle_common::ZoneName;
use serde_json::Value;
use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// A list that comes in pages may take that many times as long as a call.
const LIST: u32 = 4;
/// Before a read is made again; doubled each time.
const PAUSE: Duration = Duration::from_millis(200);
/// How often a read is made again.
const AGAIN: usize = 3;
/// Keystone locks accounts whose secret is refused too often: once refused, it is not sent again for so long.
const REFUSED: Duration = Duration::from_secs(30);
/// Tokens that are kept. There are as many as mapped projects; past this all are asked for anew.
const TOKENS: usize = 4096;

/// What a token is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scope {
    /// The configured project, or the application credential's own.
    Home,
    /// A project by its id. What is made under it belongs to that project.
    Project(String),
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Home => f.write_str("the configured project"),
            Self::Project(id) => write!(f, "project {id}"),
        }
    }
}

/// One zone's OpenStack. Cheap to clone; clones share tokens.
#[derive(Clone)]
pub struct Cloud {
    inner: Arc<Inner>,
}

struct Inner {
    zone: ZoneName,
    config: CloudConfig,
    login: Login,
    http: Http,
    tokens: Mutex<HashMap<Scope, Arc<Token>>>,
    versions: Mutex<HashMap<Url, Microversion>>,
    /// When Keystone last refused us a token, and in what words.
    refused: Mutex<HashMap<Scope, (Instant, String)>>,
}

/// By the zone and Keystone's URL alone: no token comes into a log.
impl fmt::Debug for Cloud {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Cloud({} at {})",
            self.inner.zone, self.inner.login.keystone
        )
    }
}

/// Which service is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    Keystone,
    Cinder,
    Nova,
    Neutron,
    Placement,
    Barbican,
}

impl To {
    /// How it speaks of its versions, if it has any.
    fn dialect(self) -> Option<&'static Dialect> {
        match self {
            Self::Cinder => Some(&version::CINDER),
            Self::Nova => Some(&version::NOVA),
            Self::Placement => Some(&version::PLACEMENT),
            Self::Keystone | Self::Neutron | Self::Barbican => None,
        }
    }
}

impl fmt::Display for To {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keystone => "Keystone",
            Self::Cinder => "Cinder",
            Self::Nova => "Nova",
            Self::Neutron => "Neutron",
            Self::Placement => "Placement",
            Self::Barbican => "Barbican",
        })
    }
}

/// What it is asked.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) to: To,
    pub(crate) method: Method,
    /// After the service's own URL.
    pub(crate) path: String,
    pub(crate) body: Option<Bytes>,
}

/// When a call began, and when it must have ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begun: Instant,
    pub(crate) deadline: Instant,
}

impl Window {
    fn of(span: Duration) -> Self {
        let begun = Instant::now();
        Self {
            begun,
            deadline: begun + span,
        }
    }
}

// What a panic could have left half done in these maps is an entry that is missing.
fn locked<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Cloud {
    /// A zone's cloud. Nobody is contacted yet; of a `clouds.yaml` that is named the cloud's entry is read, and no secret is kept.
    ///
    /// # Errors
    /// [`CloudError::Config`] names the field.
    pub fn new(zone: ZoneName, config: CloudConfig) -> Result<Self, CloudError> {
        let bad = |e: InvalidConfig| CloudError::Config {
            zone: zone.clone(),
            field: e.field,
            why: e.why,
            source: None,
        };
        let login = Login::read(&config, &login::process).map_err(bad)?;
        let roots = match Roots::load(login.ca.as_deref()) {
            Ok(roots) => Some(roots),
            // A cloud without TLS needs no authorities.
            Err(_) if login.ca.is_none() && !login.keystone.secure => None,
            Err(why) => {
                let field = "ca".to_owned();
                return Err(bad(InvalidConfig { field, why }));
            }
        };
        Ok(Self {
            inner: Arc::new(Inner {
                zone,
                config,
                login,
                http: Http { roots },
                tokens: Mutex::default(),
                versions: Mutex::default(),
                refused: Mutex::default(),
            }),
        })
    }

    /// Whose.
    #[must_use]
    pub fn zone(&self) -> &ZoneName {
        &self.inner.zone
    }

    /// How it is reached.
    #[must_use]
    pub fn config(&self) -> &CloudConfig {
        &self.inner.config
    }

    /// Its Cinder, under a token of that scope. Nobody is contacted yet.
    #[must_use]
    pub fn cinder(&self, scope: Scope) -> Cinder {
        Cinder::new(self.clone(), scope)
    }

    /// Its Nova, under a token of that scope. Nobody is contacted yet.
    #[must_use]
    pub fn nova(&self, scope: Scope) -> Nova {
        Nova::new(self.clone(), scope)
    }

    /// Its Neutron, under a token of that scope. Nobody is contacted yet.
    #[must_use]
    pub fn neutron(&self, scope: Scope) -> Neutron {
        Neutron::new(self.clone(), scope)
    }

    /// Its Placement, under a token of that scope. Nobody is contacted yet.
    #[must_use]
    pub fn placement(&self, scope: Scope) -> Placement {
        Placement::new(self.clone(), scope)
    }

    /// Its Barbican, under a token of that scope. Nobody is contacted yet.
    #[must_use]
    pub fn barbican(&self, scope: Scope) -> Barbican {
        Barbican::new(self.clone(), scope)
    }

    /// Asks for a new token, and says what Keystone says of us: whether we may act in that project, and as what.
    ///
    /// # Errors
    /// `Unauthorized` where the secret is wrong or there is no role in that project.
    pub async fn whoami(&self, scope: &Scope) -> Result<Identity, CloudError> {
        let window = self.window();
        let token = self.retried(window, || self.authenticate(scope, window));
        Ok(token.await?.identity.clone())
    }

    /// All projects, by whoever may see them: administrators.
    ///
    /// # Errors
    /// See [`CloudError`]; `TooMany` where Keystone cuts its list short.
    pub async fn projects(&self) -> Result<Vec<Project>, CloudError> {
        projects::all(self).await
    }

    /// The projects that we have a role in.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn my_projects(&self) -> Result<Vec<Project>, CloudError> {
        projects::mine(self).await
    }

    /// Who holds a token that somebody showed us; `None` where Keystone says that it is none, or none any more. Our own user needs
    /// the right to look at others' tokens: the role `admin` or `service`.
    ///
    /// # Errors
    /// See [`CloudError`].
    pub async fn holder(&self, shown: &HeaderValue) -> Result<Option<Holder>, CloudError> {
        let window = self.window();
        let answer = self
            .retried(window, || async move {
                let token = self.token(&Scope::Home, window).await?;
                match token.look_at(self, shown, window).await {
                    // Ours may be revoked too: then a new one.
                    Err(CloudError::Unauthorized { .. }) => {
                        self.forget(&Scope::Home, &token);
                        let token = self.token(&Scope::Home, window).await?;
                        token.look_at(self, shown, window).await
                    }
                    answer @ (Ok(_) | Err(_)) => answer,
                }
            })
            .await;
        match answer {
            Err(CloudError::NotFound { .. }) => Ok(None),
            answer @ (Ok(_) | Err(_)) => answer.map(Some),
        }
    }

    pub(crate) fn login(&self) -> &Login {
        &self.inner.login
    }

    pub(crate) fn keystone_url(&self) -> &Url {
        &self.inner.login.keystone
    }

    pub(crate) fn http(&self) -> &Http {
        &self.inner.http
    }

    pub(crate) fn call(&self, method: &Method, url: &Url) -> Call {
        Call {
            zone: self.inner.zone.clone(),
            what: format!("{method} {url}"),
        }
    }

    /// For one call from now.
    pub(crate) fn window(&self) -> Window {
        Window::of(self.inner.config.timeout.get())
    }

    /// For a whole list from now.
    pub(crate) fn long_window(&self) -> Window {
        Window::of(self.inner.config.timeout.get() * LIST)
    }

    /// For one call from now, within another window.
    pub(crate) fn window_within(&self, whole: Window) -> Window {
        let one = self.window();
        Window {
            begun: one.begun,
            deadline: one.deadline.min(whole.deadline),
        }
    }

    /// For one call from now, that ends then at the latest.
    pub(crate) fn window_until(&self, end: Instant) -> Window {
        let one = self.window();
        Window {
            begun: one.begun,
            deadline: one.deadline.min(end),
        }
    }

    /// Reads: again and again where the error may pass, as long as the window allows.
    pub(crate) async fn read(
        &self,
        scope: &Scope,
        op: &Op,
        window: Window,
    ) -> Result<Value, CloudError> {
        self.retried(window, || self.once(scope, op, window)).await
    }

    /// Writes: once.
    pub(crate) async fn write(
        &self,
        scope: &Scope,
        op: &Op,
        window: Window,
    ) -> Result<Value, CloudError> {
        self.once(scope, op, window).await
    }

    async fn retried<T, F>(&self, window: Window, attempt: impl Fn() -> F) -> Result<T, CloudError>
    where
        F: Future<Output = Result<T, CloudError>>,
    {
        let pauses = ExponentialBuilder::default()
            .with_min_delay(PAUSE)
            .with_max_times(AGAIN);
        let fits = move |pause: Duration| Instant::now() + pause < window.deadline;
        attempt
            .retry(pauses)
            .when(CloudError::is_passing)
            .adjust(move |e, pause| {
                let asked = e.retry_after().unwrap_or_default();
                pause.map(|p| p.max(asked)).filter(|p| fits(*p))
            })
            .notify(|error, _| tracing::debug!(error = error.in_full(), "a read is made again"))
            .await
    }

    async fn once(&self, scope: &Scope, op: &Op, window: Window) -> Result<Value, CloudError> {
        let token = self.token(scope, window).await?;
        match self.attempt(&token, op, window).await {
            // A token may be revoked long before its end: when a role or a password changes, say.
            Err(CloudError::Unauthorized { .. }) => {
                self.forget(scope, &token);
                let token = self.token(scope, window).await?;
                self.attempt(&token, op, window).await
            }
            answer @ (Ok(_) | Err(_)) => answer,
        }
    }

    async fn attempt(&self, token: &Token, op: &Op, window: Window) -> Result<Value, CloudError> {
        let mut headers = vec![token.header()];
        let url = match op.to {
            To::Keystone => self.inner.login.keystone.join(&op.path),
            To::Cinder | To::Nova | To::Neutron | To::Placement | To::Barbican => {
                let place = token.place(self, op.to)?;
                if let Some(dialect) = op.to.dialect() {
                    let version = self.version(dialect, &place.base, token, window).await?;
                    headers.push(version.header(dialect));
                }
                place.calls.join(&op.path)
            }
        };
        self.exchange(&op.method, &url, headers, op.body.clone(), window)
            .await
    }

    pub(crate) async fn exchange(
        &self,
        method: &Method,
        url: &Url,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Option<Bytes>,
        window: Window,
    ) -> Result<Value, CloudError> {
        let call = self.call(method, url);
        let ask = Ask {
            method: method.clone(),
            url,
            headers,
            body,
        };
        let http = &self.inner.http;
        let answer = http.send(&call, ask, window.begun, window.deadline).await?;
        judge(&call, &answer)
    }

    async fn version(
        &self,
        dialect: &Dialect,
        base: &Url,
        token: &Token,
        window: Window,
    ) -> Result<Microversion, CloudError> {
        if let Some(known) = locked(&self.inner.versions).get(base) {
            return Ok(*known);
        }
        let agreed = version::negotiate(self, dialect, base, token, window).await?;
        locked(&self.inner.versions).insert(base.clone(), agreed);
        Ok(agreed)
    }

    /// The microversion that is spoken with this scope's service; only of one that has them.
    pub(crate) async fn version_for(
        &self,
        scope: &Scope,
        to: To,
    ) -> Result<Microversion, CloudError> {
        let dialect = to.dialect();
        let dialect = dialect.ok_or_else(|| self.misfit("auth_url", format!("{to} has none")))?;
        let window = self.window();
        let attempt = || async move {
            let token = self.token(scope, window).await?;
            let place = token.place(self, to)?;
            self.version(dialect, &place.base, &token, window).await
        };
        self.retried(window, attempt).await
    }

    /// The id of a scope's project.
    pub(crate) async fn project_id(&self, scope: &Scope) -> Result<String, CloudError> {
        let window = self.window();
        let token = self.retried(window, || self.token(scope, window)).await?;
        Ok(token.identity.project_id.clone())
    }

    async fn token(&self, scope: &Scope, window: Window) -> Result<Arc<Token>, CloudError> {
        let kept = locked(&self.inner.tokens).get(scope).cloned();
        if let Some(token) = kept.filter(|t| t.is_good()) {
            return Ok(token);
        }
        let refused = locked(&self.inner.refused).get(scope).cloned();
        match refused.filter(|(at, _)| at.elapsed() < REFUSED) {
            Some((_, message)) => Err(CloudError::Unauthorized {
                call: Token::call(self),
                message: format!("{message} (a moment ago; not asked again yet)"),
            }),
            None => self.authenticate(scope, window).await,
        }
    }

    async fn authenticate(&self, scope: &Scope, window: Window) -> Result<Arc<Token>, CloudError> {
        let asked = Token::ask(self, scope, window).await;
        let mut refused = locked(&self.inner.refused);
        if refused.len() >= TOKENS {
            refused.clear();
        }
        if let Err(CloudError::Unauthorized { message, .. }) = &asked {
            refused.insert(scope.clone(), (Instant::now(), message.clone()));
        } else {
            refused.remove(scope);
        }
        drop(refused);
        let token = Arc::new(asked?);
        let mut tokens = locked(&self.inner.tokens);
        if tokens.len() >= TOKENS {
            tokens.clear();
        }
        tokens.insert(scope.clone(), Arc::clone(&token));
        Ok(token)
    }

    /// Forgets that token, but not a newer one that somebody else has got meanwhile.
    fn forget(&self, scope: &Scope, token: &Arc<Token>) {
        let mut tokens = locked(&self.inner.tokens);
        if tokens.get(scope).is_some_and(|t| Arc::ptr_eq(t, token)) {
            tokens.remove(scope);
        }
    }

    pub(crate) fn misfit(&self, field: &str, why: impl Into<String>) -> CloudError {
        CloudError::Config {
            zone: self.inner.zone.clone(),
            field: field.to_owned(),
            why: why.into(),
            source: None,
        }
    }
}
