//! The list of routes: one entry gives both the route and its description, so they cannot differ.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::routing::{MethodFilter, MethodRouter, on};
use domain::Scope;
use utoipa::openapi::{RefOr, Schema};

use crate::allowed::{Allowed, Need};
use crate::answer::{Outcome, Output};
use crate::endpoint::{self, Facts};
use crate::front::Front;
use crate::input::{Description, Fields, Input, Place};
use crate::problem::Problem;
use crate::visitor::Visitor;

/// A description of one route.
pub(crate) struct Operation {
    pub(crate) method: Method,
    pub(crate) path: &'static str,
    pub(crate) tag: &'static str,
    /// A few words for people.
    pub(crate) summary: &'static str,
    /// `None` when anybody may call.
    pub(crate) scope: Option<Scope>,
    /// Anybody may call, and may do something by it.
    pub(crate) public: bool,
    pub(crate) input: Description,
    /// What a person shows of themselves outside the body.
    pub(crate) proof: Option<Proof>,
    /// The body is that of an HTML form, as a standard prescribes.
    pub(crate) form: bool,
    pub(crate) statuses: &'static [StatusCode],
    pub(crate) media_type: &'static str,
    pub(crate) other_media_type: Option<&'static str>,
    pub(crate) sets_cookie: bool,
    pub(crate) schema: RefOr<Schema>,
    pub(crate) shapes: Vec<(&'static str, Schema)>,
    /// Problems of this call beyond those of all calls of its kind.
    pub(crate) problems: &'static [Problem],
}

/// What a person shows of themselves outside the body.
#[derive(Clone, Copy)]
pub(crate) enum Proof {
    /// An access token.
    AccessToken,
    /// The token of an enrolment.
    EnrolmentToken,
    /// The same, unless the password stands in the body.
    EnrolmentTokenOrPassword,
    /// The cookie of a login that waits, unless its token stands in the body.
    LoginCookie,
}

/// The routes so far.
#[derive(Default)]
pub(crate) struct Table {
    pub(crate) router: Router<Arc<Front>>,
    pub(crate) operations: Vec<Operation>,
    /// The headings with a sentence for each, in their order.
    pub(crate) tags: Vec<(&'static str, &'static str)>,
    tag: &'static str,
}

impl Table {
    /// What follows belongs together under this heading.
    pub(crate) fn tag(mut self, tag: &'static str, about: &'static str) -> Self {
        self.tag = tag;
        self.tags.push((tag, about));
        self
    }

    /// The call before needs this, too.
    pub(crate) fn with(mut self, proof: Proof) -> Self {
        if let Some(last) = self.operations.last_mut() {
            last.proof = Some(proof);
        }
        self
    }

    /// Adds `routes`.
    pub(crate) fn and(self, routes: impl FnOnce(Self) -> Self) -> Self {
        routes(self)
    }

    /// Adds `routes` only if `condition` holds: elsewhere there is nothing at their paths.
    pub(crate) fn only_if(self, condition: bool, routes: impl FnOnce(Self) -> Self) -> Self {
        if condition { routes(self) } else { self }
    }

    /// `GET` for anybody.
    pub(crate) fn open<O, F, Fut>(
        self,
        path: &'static str,
        handler: F,
        summary: &'static str,
    ) -> Self
    where
        O: Output + 'static,
        F: Fn(Arc<Front>) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        let serve = move |State(front): State<Arc<Front>>, request: Request| {
            endpoint::serve_open(front, request, handler)
        };
        let input = Description::default();
        let operation = operation::<O>(Method::GET, path, summary, None, input, &[]);
        self.entry(operation, on(MethodFilter::GET, serve))
    }

    /// `POST` for people, without a credential of a service.
    pub(crate) fn public<I, O, F, Fut>(
        self,
        path: &'static str,
        handler: F,
        summary: &'static str,
        problems: &'static [Problem],
    ) -> Self
    where
        I: Input,
        O: Output + 'static,
        F: Fn(Visitor, I) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        let (input, facts) = facts::<I>(path);
        let serve = move |State(front): State<Arc<Front>>, request: Request| {
            endpoint::serve_public(front, request, facts, handler)
        };
        let operation = Operation {
            public: true,
            ..operation::<O>(Method::POST, path, summary, None, input, problems)
        };
        self.entry(operation, on(MethodFilter::POST, serve))
    }

    /// A call that needs a scope.
    pub(crate) fn call<N, I, O, F, Fut>(
        self,
        method: Method,
        path: &'static str,
        handler: F,
        summary: &'static str,
        problems: &'static [Problem],
    ) -> Self
    where
        N: Need,
        I: Input,
        O: Output + 'static,
        F: Fn(Allowed<N>, I) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        let (input, facts) = facts::<I>(path);
        let route = for_callers(&method, facts, handler);
        let operation = Operation {
            form: I::FORM,
            ..operation::<O>(method, path, summary, Some(N::SCOPE), input, problems)
        };
        self.entry(operation, route)
    }

    /// A call that is in the table already, at a path that another route has taken from
    /// it: there the part of that name has that value.
    pub(crate) fn also_at<N, I, O, F, Fut>(
        self,
        method: Method,
        path: &'static str,
        part: (&'static str, &'static str),
        handler: F,
        summary: &'static str,
        problems: &'static [Problem],
    ) -> Self
    where
        N: Need,
        I: Input,
        O: Output + 'static,
        F: Fn(Allowed<N>, I) -> Fut + Copy + Send + Sync + 'static,
        Fut: Future<Output = Outcome<O>> + Send + 'static,
    {
        let (mut input, _) = facts::<I>(path);
        input.0.retain(|wanted| wanted.place != Place::Path);
        let facts = Facts {
            has_parts: true,
            needs_body: false,
            spelled_out: Some(part),
        };
        let route = for_callers(&method, facts, handler);
        let scope = Some(N::SCOPE);
        self.entry(
            operation::<O>(method, path, summary, scope, input, problems),
            route,
        )
    }

    /// The one place where a route and its description come in, side by side.
    fn entry(mut self, operation: Operation, route: MethodRouter<Arc<Front>>) -> Self {
        self.router = self.router.route(operation.path, route);
        self.operations.push(Operation {
            tag: self.tag,
            ..operation
        });
        self
    }
}

fn for_callers<N, I, O, F, Fut>(
    method: &Method,
    facts: Facts,
    handler: F,
) -> MethodRouter<Arc<Front>>
where
    N: Need,
    I: Input,
    O: Output + 'static,
    F: Fn(Allowed<N>, I) -> Fut + Copy + Send + Sync + 'static,
    Fut: Future<Output = Outcome<O>> + Send + 'static,
{
    let serve = move |State(front): State<Arc<Front>>, request: Request| {
        endpoint::serve(front, request, facts, handler)
    };
    let filter = match *method {
        Method::POST => MethodFilter::POST,
        Method::DELETE => MethodFilter::DELETE,
        _ => MethodFilter::GET,
    };
    on(filter, serve)
}

/// What an input asks for, and what follows for its route.
fn facts<I: Input>(path: &'static str) -> (Description, Facts) {
    let input = Fields::describe(|fields| {
        I::read(fields);
    });
    let facts = Facts {
        has_parts: path.contains('{'),
        needs_body: input.needs_body(),
        spelled_out: None,
    };
    (input, facts)
}

fn operation<O: Output>(
    method: Method,
    path: &'static str,
    summary: &'static str,
    scope: Option<Scope>,
    input: Description,
    problems: &'static [Problem],
) -> Operation {
    Operation {
        method,
        path,
        tag: "",
        summary,
        scope,
        public: false,
        input,
        proof: None,
        form: false,
        statuses: O::STATUSES,
        media_type: O::MEDIA_TYPE,
        other_media_type: O::OTHER_MEDIA_TYPE,
        sets_cookie: O::SETS_COOKIE,
        schema: O::schema(),
        shapes: O::shapes(),
        problems,
    }
}
