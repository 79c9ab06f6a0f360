//! A fake GitHub that remembers: repositories, pull requests, comments, checks, deployments, issues, and who may do what.
//!
//! It holds the bot to the rules: proofs are verified with the App's key, each token opens one repository and the things that it
//! was asked for, lists come in pages, answers have tags, 50 annotations are the most. Faults are scripted per request.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use gristmill::bot::forge::Repository;
use gristmill::bot::forge::github::{GitHub, Settings};
use jiff::{SignedDuration, Timestamp};
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};

use super::mirror;
use super::server::{Answer, Request, Server};

/// The App.
pub(crate) const APP: u64 = 4711;
/// Its name as an author.
pub(crate) const BOT: &str = "gristmill[bot]";
pub(crate) const KEY: &str = include_str!("app.pem");

/// What goes wrong, at the next request that it fits.
pub(crate) struct Trouble {
    pub(crate) method: &'static str,
    /// Part of the path.
    pub(crate) path: &'static str,
    pub(crate) how: How,
}

pub(crate) enum How {
    /// This is answered, nothing is done.
    Answer(Answer),
    /// The connection breaks, nothing is done.
    Break,
    /// What was asked is done, then the connection breaks.
    DoneThenBreak,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) repositories: BTreeMap<String, Repo>,
    tokens: HashMap<String, Grant>,
    pub(crate) troubles: Vec<Trouble>,
    pub(crate) log: Vec<Request>,
    /// What was wrong with requests.
    pub(crate) objections: Vec<String>,
    pub(crate) deliveries: Vec<Value>,
    pub(crate) asked_again: Vec<u64>,
    /// Permissions and repositories added to every token.
    pub(crate) excess: Option<(&'static str, &'static str)>,
    pub(crate) everywhere: bool,
    pub(crate) per_page: Option<usize>,
    /// Answers "not modified".
    pub(crate) unmodified: usize,
    /// Told of each request before it is looked at.
    pub(crate) watch: Option<Arc<dyn Fn() + Send + Sync>>,
    next: u64,
}

struct Grant {
    repository: Option<String>,
    permissions: BTreeMap<String, String>,
    until: Timestamp,
}

/// A repository.
#[derive(Default)]
pub(crate) struct Repo {
    pub(crate) private: bool,
    pub(crate) clone_url: String,
    pub(crate) heads: BTreeMap<String, String>,
    pub(crate) pulls: BTreeMap<u64, Pull>,
    pub(crate) roles: BTreeMap<String, (&'static str, &'static str)>,
    pub(crate) comments: Vec<Value>,
    pub(crate) reactions: Vec<(u64, String)>,
    pub(crate) runs: Vec<Value>,
    pub(crate) deployments: Vec<Value>,
    pub(crate) statuses: Vec<(u64, Value)>,
    pub(crate) issues: Vec<Value>,
}

pub(crate) struct Pull {
    pub(crate) head: String,
    pub(crate) open: bool,
}

/// The fake, listening.
pub(crate) struct Fake {
    world: Arc<Mutex<World>>,
    server: Server,
}

/// The one repository of most tests.
pub(crate) fn ice() -> Repository {
    "sea/ice".parse().unwrap()
}

pub(crate) fn sha(digit: char) -> String {
    digit.to_string().repeat(40)
}

impl Fake {
    /// With the repository `sea/ice`, in which pull request 7 is open.
    pub(crate) fn start() -> Self {
        let mut repo = Repo { clone_url: "https://forge.invalid/sea/ice.git".into(), ..Repo::default() };
        repo.heads.insert("main".into(), sha('b'));
        repo.pulls.insert(7, Pull { head: sha('a'), open: true });
        let world = World { repositories: BTreeMap::from([("sea/ice".to_owned(), repo)]), next: 100, ..World::default() };
        let world = Arc::new(Mutex::new(world));
        let of_server = Arc::clone(&world);
        let server = Server::start(move |request| answer(&of_server, request));
        Self { world, server }
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at `sea/ice`.
    pub(crate) fn repo<T>(&self, look: impl FnOnce(&mut Repo) -> T) -> T {
        look(self.world().repositories.get_mut("sea/ice").unwrap())
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.server.address)
    }

    /// Waits until all that was asked or said before is done.
    pub(crate) fn catch_up(&self) {
        self.server.catch_up();
    }

    /// The bot's side, hasty.
    pub(crate) fn github(&self) -> GitHub {
        let settings = Settings::new(self.url(), APP, KEY);
        let (patience, pause) = (std::time::Duration::from_millis(1500), std::time::Duration::from_millis(10));
        GitHub::new(&Settings { patience, pause, ..settings }).unwrap()
    }

    pub(crate) fn trouble(&self, method: &'static str, path: &'static str, how: How) {
        self.world().troubles.push(Trouble { method, path, how });
    }

    /// No trouble any more.
    pub(crate) fn mend(&self) {
        self.world().troubles.clear();
    }

    /// All tokens end now.
    pub(crate) fn expire_tokens(&self) {
        self.world().tokens.values_mut().for_each(|grant| grant.until = Timestamp::UNIX_EPOCH);
    }

    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.world().log.iter().filter(|request| request.method == method && request.path.contains(part)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert_eq!(self.world().objections, Vec::<String>::new(), "requests of the bot that no forge would take");
        }
    }
}

fn answer(world: &Mutex<World>, request: &Request) -> Option<Answer> {
    let objection = mirror::objection(request);
    let watch = world.lock().unwrap_or_else(PoisonError::into_inner).watch.clone();
    if let Some(watch) = watch {
        watch();
    }
    let mut world = world.lock().unwrap_or_else(PoisonError::into_inner);
    world.objections.extend(objection);
    world.log.push(request.clone());
    if request.header("user-agent").is_none_or(|agent| !agent.starts_with("gristmill/")) {
        world.objections.push("GitHub refuses requests without a user agent".into());
    }
    let fits = |trouble: &Trouble| trouble.method == request.method && request.path.contains(trouble.path);
    let at = world.troubles.iter().position(fits);
    match at.map(|at| world.troubles.remove(at).how) {
        Some(How::Answer(answer)) => Some(answer),
        Some(How::Break) => None,
        Some(How::DoneThenBreak) => {
            world.route(request);
            None
        }
        None => Some(world.tagged(request)),
    }
}

fn wrong(status: u16, message: &str) -> Answer {
    Answer::json(status, &json!({"message": message, "documentation_url": "https://docs.github.com/rest"}))
}

impl World {
    /// With a tag, or "not modified".
    fn tagged(&mut self, request: &Request) -> Answer {
        let answer = self.route(request).with("x-ratelimit-remaining", 4999).with("x-ratelimit-limit", 5000);
        if request.method != "GET" || answer.status != 200 {
            return answer;
        }
        let mut hash = DefaultHasher::new();
        answer.body.hash(&mut hash);
        let etag = format!("W/\"{:x}\"", hash.finish());
        if request.header("if-none-match") == Some(&etag) {
            self.unmodified += 1;
            return Answer { status: 304, body: Vec::new(), ..answer };
        }
        answer.with("ETag", etag)
    }

    fn route(&mut self, request: &Request) -> Answer {
        let bearer = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
        let path: Vec<String> = request.path.split('/').skip(1).map(decoded).collect();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let body: Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let of_app = matches!(path.as_slice(), ["app", ..] | ["repos", _, _, "installation"]);
        if of_app {
            return if is_proof(&bearer) { self.app(request, &path, &body) } else { wrong(401, "A JSON web token could not be decoded") };
        }
        let Some(grant) = self.tokens.get(&bearer).filter(|grant| grant.until > Timestamp::now()) else {
            return wrong(401, "Bad credentials");
        };
        match path.as_slice() {
            ["installation", "repositories"] => {
                let all: Vec<Value> = self.repositories.keys().map(|name| json!({"full_name": name})).collect();
                self.paged(request, &all, Some("repositories"))
            }
            ["repos", owner, name, rest @ ..] => {
                let full = format!("{owner}/{name}");
                if grant.repository.as_ref() != Some(&full) {
                    return wrong(404, "Not Found");
                }
                if let Some(lack) = lack(&grant.permissions, &request.method, rest) {
                    let message = format!("Resource not accessible by integration: {} {} takes {lack}", request.method, request.path);
                    self.objections.push(message.clone());
                    return wrong(403, &message);
                }
                self.repository(request, &full, rest, &body)
            }
            _ => wrong(404, "Not Found"),
        }
    }

    fn app(&mut self, request: &Request, path: &[&str], body: &Value) -> Answer {
        match (request.method.as_str(), path) {
            ("GET", ["app"]) => Answer::json(200, &json!({"id": APP, "slug": "gristmill"})),
            ("GET", ["app", "installations"]) => {
                let all = [json!({"id": 1, "suspended_at": null}), json!({"id": 2, "suspended_at": "2026-01-01T00:00:00Z"})];
                self.paged(request, &all, None)
            }
            ("GET", ["repos", owner, name, "installation"]) => {
                let known = self.repositories.contains_key(&format!("{owner}/{name}"));
                if known { Answer::json(200, &json!({"id": 1})) } else { wrong(404, "Not Found") }
            }
            ("POST", ["app", "installations", "1", "access_tokens"]) => self.mint(body),
            ("GET", ["app", "hook", "deliveries"]) => {
                let all = self.deliveries.clone();
                self.paged(request, &all, None)
            }
            ("POST", ["app", "hook", "deliveries", id, "attempts"]) => {
                self.asked_again.push(id.parse().unwrap());
                Answer::json(202, &json!({}))
            }
            _ => wrong(404, "Not Found"),
        }
    }

    fn mint(&mut self, body: &Value) -> Answer {
        let mut permissions: BTreeMap<String, String> = serde_json::from_value(body["permissions"].clone()).unwrap_or_default();
        if permissions.is_empty() {
            self.objections.push("a token with all rights of the App is asked for".into());
        }
        permissions.extend(self.excess.map(|(name, level)| (name.to_owned(), level.to_owned())));
        let named = body["repositories"].as_array().and_then(|names| names.first()).and_then(Value::as_str);
        let full = named.map(|name| format!("sea/{name}"));
        self.next += 1;
        let (token, until) = (format!("ghs_secret{}", self.next), Timestamp::now() + SignedDuration::from_hours(1));
        let mut listed: Vec<Value> = full.iter().map(|full| json!({"full_name": full})).collect();
        if self.everywhere {
            listed.push(json!({"full_name": "sea/other"}));
        }
        let selection = if full.is_some() { "selected" } else { "all" };
        self.tokens.insert(token.clone(), Grant { repository: full, permissions: permissions.clone(), until });
        let answer = json!({
            "token": token, "expires_at": until.to_string(), "permissions": permissions,
            "repository_selection": selection, "repositories": listed,
        });
        Answer::json(201, &answer)
    }

    fn repository(&mut self, request: &Request, full: &str, rest: &[&str], body: &Value) -> Answer {
        self.next += 1;
        let (id, repo) = (self.next, self.repositories.get_mut(full).unwrap());
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match (request.method.as_str(), rest) {
            ("GET", []) => Answer::json(200, &repo.about()),
            ("GET", ["branches", branch]) => match repo.heads.get(*branch) {
                Some(head) => Answer::json(200, &json!({"name": branch, "commit": {"sha": head}})),
                None => wrong(404, "Branch not found"),
            },
            ("GET", ["pulls", asked]) => repo.pull(number(asked)).map_or_else(|| wrong(404, "Not Found"), |pull| Answer::json(200, &pull)),
            ("GET", ["pulls"]) => {
                let open: Vec<Value> = repo.pulls.iter().rev().filter(|(_, pull)| pull.open).filter_map(|(&n, _)| repo.pull(n)).collect();
                self.paged(request, &open, None)
            }
            ("GET", ["collaborators", login, "permission"]) => match repo.roles.get(*login) {
                Some((permission, role)) => Answer::json(200, &json!({"permission": permission, "role_name": role})),
                None => wrong(404, "Not Found"),
            },
            ("GET", ["issues", pull, "comments"]) => {
                let all: Vec<Value> = repo.comments.iter().filter(|one| one["pull"] == number(pull)).cloned().collect();
                self.paged(request, &all, None)
            }
            ("POST", ["issues", pull, "comments"]) => {
                let comment = json!({"id": id, "pull": number(pull), "user": {"login": BOT}, "body": body["body"]});
                kept(&mut repo.comments, comment)
            }
            ("PATCH", ["issues", "comments", asked]) => changed(&mut repo.comments, number(asked), "id", body),
            ("POST", ["issues", "comments", asked, "reactions"]) => {
                let reaction = (number(asked), body["content"].as_str().unwrap_or_default().to_owned());
                if !repo.comments.iter().any(|one| one["id"] == reaction.0) {
                    return wrong(404, "Not Found");
                }
                let is_new = !repo.reactions.contains(&reaction);
                repo.reactions.extend(Some(reaction).filter(|_| is_new));
                Answer::json(if is_new { 201 } else { 200 }, &json!({"id": id}))
            }
            ("GET", ["issues"]) => {
                let all: Vec<Value> = repo
                    .issues
                    .iter()
                    .rev()
                    .filter(|one| Some(one["user"]["login"].as_str().unwrap()) == request.query("creator"))
                    .cloned()
                    .collect();
                self.paged(request, &all, None)
            }
            ("POST", ["issues"]) => {
                let issue = json!({"number": id, "title": body["title"], "body": body["body"], "state": "open", "user": {"login": BOT}});
                kept(&mut repo.issues, issue)
            }
            ("PATCH", ["issues", asked]) => changed(&mut repo.issues, number(asked), "number", body),
            (_, [first, ..]) if ["check-runs", "commits", "deployments"].contains(first) => self.published(request, full, rest, body),
            _ => wrong(404, "Not Found"),
        }
    }

    fn published(&mut self, request: &Request, full: &str, rest: &[&str], body: &Value) -> Answer {
        let (id, repo) = (self.next, self.repositories.get_mut(full).unwrap());
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        match (request.method.as_str(), rest) {
            ("GET", ["commits", head, "check-runs"]) => {
                let same = |run: &&Value| run["head_sha"] == *head && run["name"].as_str() == request.query("check_name");
                let all: Vec<Value> = repo.runs.iter().filter(same).cloned().collect();
                self.paged(request, &all, Some("check_runs"))
            }
            ("POST", ["check-runs"]) => {
                let run =
                    json!({"id": id, "head_sha": body["head_sha"], "status": "queued", "output": {"annotations_count": 0}, "notes": []});
                repo.runs.push(run);
                annotated(repo.runs.last_mut().unwrap(), body, 201)
            }
            ("PATCH", ["check-runs", asked]) => match repo.runs.iter_mut().find(|run| run["id"] == number(asked)) {
                Some(run) => annotated(run, body, 200),
                None => wrong(404, "Not Found"),
            },
            ("GET", ["deployments"]) => {
                let fits = |one: &Value, name: &str| request.query(name).is_none_or(|asked| one[name] == asked);
                let is_it = |one: &&Value| ["sha", "task", "environment"].iter().all(|name| fits(one, name));
                let all: Vec<Value> = repo.deployments.iter().rev().filter(is_it).cloned().collect();
                self.paged(request, &all, None)
            }
            ("POST", ["deployments"]) => {
                let made = json!({"id": id, "sha": body["ref"], "task": body["task"], "environment": body["environment"]});
                kept(&mut repo.deployments, made)
            }
            ("GET", ["deployments", asked, "statuses"]) => {
                let all: Vec<Value> =
                    repo.statuses.iter().rev().filter(|(of, _)| *of == number(asked)).map(|(_, one)| one.clone()).collect();
                self.paged(request, &all, None)
            }
            ("POST", ["deployments", asked, "statuses"]) => {
                repo.statuses.push((number(asked), body.clone()));
                Answer::json(201, body)
            }
            _ => wrong(404, "Not Found"),
        }
    }

    fn paged(&self, request: &Request, all: &[Value], named: Option<&str>) -> Answer {
        let asked = request.query("per_page").and_then(|count| count.parse().ok()).unwrap_or(30_usize);
        let (count, page) =
            (self.per_page.unwrap_or(asked).min(asked), request.query("page").and_then(|page| page.parse().ok()).unwrap_or(1_usize));
        let items: Vec<Value> = all.iter().skip((page - 1) * count).take(count).cloned().collect();
        let body = named.map_or_else(|| json!(items), |name| json!({"total_count": all.len(), name: items}));
        let answer = Answer::json(200, &body);
        if page * count >= all.len() {
            return answer;
        }
        let mut next = url::Url::parse(&format!("http://{}{}", request.header("host").unwrap(), request.target)).unwrap();
        let others: Vec<(String, String)> =
            next.query_pairs().filter(|(name, _)| name != "page").map(|(n, v)| (n.into(), v.into())).collect();
        next.query_pairs_mut().clear().extend_pairs(others).append_pair("page", &(page + 1).to_string());
        answer.with("Link", format!("<{next}>; rel=\"next\", <{next}>; rel=\"last\""))
    }
}

impl Repo {
    fn about(&self) -> Value {
        json!({"default_branch": "main", "private": self.private, "clone_url": self.clone_url})
    }

    fn pull(&self, number: u64) -> Option<Value> {
        let pull = self.pulls.get(&number)?;
        let state = if pull.open { "open" } else { "closed" };
        let base = json!({"sha": self.heads.get("main"), "repo": self.about()});
        Some(json!({"number": number, "state": state, "head": {"sha": pull.head}, "base": base}))
    }
}

fn kept(list: &mut Vec<Value>, item: Value) -> Answer {
    let answer = Answer::json(201, &item);
    list.push(item);
    answer
}

fn changed(list: &mut [Value], id: u64, key: &str, body: &Value) -> Answer {
    let Some(item) = list.iter_mut().find(|item| item[key] == id) else { return wrong(404, "Not Found") };
    for (name, value) in body.as_object().unwrap() {
        item[name] = value.clone();
    }
    Answer::json(200, item)
}

/// A check takes at most 50 annotations at once, and keeps those that it has.
fn annotated(run: &mut Value, body: &Value, status: u16) -> Answer {
    let notes = body["output"]["annotations"].as_array().cloned().unwrap_or_default();
    if notes.len() > 50 {
        return wrong(422, "Invalid request. No more than 50 items are allowed");
    }
    for (name, value) in body.as_object().unwrap() {
        run[name] = value.clone();
    }
    run["notes"].as_array_mut().unwrap().extend(notes);
    run["output"]["annotations_count"] = json!(run["notes"].as_array().unwrap().len());
    Answer::json(status, run)
}

/// The permission that a request takes and a token lacks.
fn lack(granted: &BTreeMap<String, String>, method: &str, rest: &[&str]) -> Option<String> {
    let writes = method != "GET";
    let name = match rest {
        [] | ["collaborators", ..] => "metadata",
        ["branches", ..] => "contents",
        ["commits", _, "check-runs"] | ["check-runs", ..] => "checks",
        ["pulls", ..] | ["issues", _, "comments"] | ["issues", "comments", ..] => "pull_requests",
        ["issues", ..] => "issues",
        ["deployments", ..] => "deployments",
        _ => return Some("something unknown".into()),
    };
    let has = granted.get(name).is_some_and(|level| level == "write" || !writes && level == "read");
    (!has).then(|| format!("{name}: {}", if writes { "write" } else { "read" }))
}

fn decoded(segment: &str) -> String {
    percent(segment.as_bytes())
}

fn percent(bytes: &[u8]) -> String {
    let text = format!("a={}", String::from_utf8_lossy(bytes).replace('+', "%2B"));
    url::form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned()).unwrap_or_default()
}

/// True for a token that the App's key signed, and that holds now for at most ten minutes.
fn is_proof(token: &str) -> bool {
    let der: String = KEY.lines().filter(|line| !line.starts_with('-')).collect();
    let key = RsaKeyPair::from_der(&STANDARD.decode(der).unwrap()).unwrap();
    let Some((words, signature)) = token.rsplit_once('.') else { return false };
    let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else { return false };
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public().as_ref());
    if public.verify(words.as_bytes(), &signature).is_err() {
        return false;
    }
    let part =
        |at: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(words.split('.').nth(at).unwrap()).unwrap()).unwrap() };
    let (now, claims) = (Timestamp::now().as_second(), part(1));
    let (from, until) = (claims["iat"].as_i64().unwrap(), claims["exp"].as_i64().unwrap());
    part(0)["alg"] == "RS256"
        && claims["iss"].as_str() == Some(APP.to_string().as_str())
        && from <= now
        && now < until
        && until - from <= 600
}
