//! What the bot does about every event: one row per case. T4, T5, T6 and T20 of the threat model are here.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use gristmill::bot::decide::{
    Action, Actor, Asked, Command, Delivery, Event, Ignored, Job, Ledger, Parsed, Progress, Pull, PullAction, Reaction, Recipe, Reply,
    Role, Sha, State, decide, parse,
};

fn sha(digit: char) -> Sha {
    digit.to_string().repeat(40).parse().unwrap()
}

fn recipe(id: &str) -> Recipe {
    Recipe { id: id.into(), identity: format!("hash of {id}") }
}

/// Pull request 7 at head a, open, changing `ice` and `sst` of a repository that has `rain` besides.
fn state() -> State {
    State {
        default_branch: "main".into(),
        recipes: vec![recipe("ice"), recipe("rain"), recipe("sst")],
        changed: vec![recipe("ice"), recipe("sst")],
        pull: Some(Pull { number: 7, head: sha('a'), open: true }),
    }
}

fn test(head: char, recipe: &str) -> Job {
    Job::Test { pull: 7, head: sha(head), recipe: recipe.into() }
}

fn bake(commit: char, recipe: &str) -> Job {
    Job::Bake { commit: sha(commit), recipe: recipe.into() }
}

fn update(recipe: &str) -> Job {
    Job::Update { day: "2026-11-21".into(), recipe: recipe.into() }
}

fn ledger(jobs: &[(Job, Progress)]) -> Ledger {
    Ledger { jobs: jobs.iter().cloned().collect(), ..Ledger::default() }
}

fn given(event: Event, state: &State, ledger: &Ledger) -> Vec<Action> {
    decide(&Delivery { id: "d1".into(), event }, state, ledger)
}

fn pulled(action: PullAction, head: char) -> Event {
    Event::PullRequest { action, number: 7, head: sha(head) }
}

fn commented(text: &str, role: Role, head: char) -> Event {
    Event::Comment(Asked { pull: 7, comment: 3, head: sha(head), by: Actor { is_bot: false, role }, text: text.into() })
}

fn start(jobs: &[Job]) -> Vec<Action> {
    jobs.iter().cloned().map(Action::Start).collect()
}

fn refused(reply: Reply) -> Vec<Action> {
    vec![Action::React { comment: 3, reaction: Reaction::Confused }, Action::Reply { pull: 7, reply }]
}

fn accepted(actions: Vec<Action>) -> Vec<Action> {
    std::iter::once(Action::React { comment: 3, reaction: Reaction::Eyes }).chain(actions).collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one row per case")]
fn every_event_has_its_actions() {
    use Progress::{Active, Cancelled, Done, Failed};
    use PullAction::{Closed, Opened, Reopened, Synchronized};
    let both = [test('a', "ice"), test('a', "sst")];
    let ignored = |why| vec![Action::Ignore(why)];
    let main = |after| Event::Push { branch: "main".into(), before: None, after };
    let closed = State { pull: Some(Pull { number: 7, head: sha('a'), open: false }), ..state() };
    let nothing = State { changed: vec![], ..state() };
    let rows: Vec<(&str, Event, State, Ledger, Vec<Action>)> = vec![
        ("opened", pulled(Opened, 'a'), state(), ledger(&[]), start(&both)),
        ("reopened", pulled(Reopened, 'a'), state(), ledger(&[]), start(&both)),
        ("opened, no recipe changed", pulled(Opened, 'a'), nothing.clone(), ledger(&[]), ignored(Ignored::NotOurs)),
        (
            "synchronized: what ran for the old head is called off",
            pulled(Synchronized, 'a'),
            state(),
            ledger(&[(test('b', "ice"), Active), (test('b', "sst"), Done)]),
            [vec![Action::Cancel(test('b', "ice"))], start(&both)].concat(),
        ),
        ("synchronized, of a head that moved on", pulled(Synchronized, 'b'), state(), ledger(&[]), ignored(Ignored::Outdated)),
        ("opened, closed meanwhile", pulled(Opened, 'a'), closed.clone(), ledger(&[]), ignored(Ignored::Outdated)),
        (
            "opened again, tested before",
            pulled(Reopened, 'a'),
            state(),
            ledger(&[(both[0].clone(), Done), (both[1].clone(), Active)]),
            ignored(Ignored::NotOurs),
        ),
        (
            "opened again, called off before",
            pulled(Reopened, 'a'),
            state(),
            ledger(&[(both[0].clone(), Cancelled), (both[1].clone(), Done)]),
            start(&both[..1]),
        ),
        (
            "closed",
            pulled(Closed, 'a'),
            closed.clone(),
            ledger(&[(both[0].clone(), Active), (both[1].clone(), Failed)]),
            vec![Action::Cancel(both[0].clone()), Action::Clean { pull: 7 }],
        ),
        ("merged", main(Some(sha('c'))), state(), ledger(&[]), start(&[bake('c', "ice"), bake('c', "sst")])),
        (
            "merged, told again under another id",
            main(Some(sha('c'))),
            state(),
            ledger(&[(bake('c', "ice"), Failed), (bake('c', "sst"), Done)]),
            ignored(Ignored::NotOurs),
        ),
        (
            "merged right after another merge",
            main(Some(sha('d'))),
            state(),
            ledger(&[(bake('c', "ice"), Active)]),
            start(&[bake('d', "ice"), bake('d', "sst")]),
        ),
        (
            "pushed to another branch",
            Event::Push { branch: "side".into(), before: None, after: Some(sha('c')) },
            state(),
            ledger(&[]),
            ignored(Ignored::NotOurs),
        ),
        ("branch deleted", main(None), state(), ledger(&[]), ignored(Ignored::NotOurs)),
        (
            "schedule",
            Event::Schedule { day: "2026-11-21".into() },
            state(),
            ledger(&[]),
            start(&[update("ice"), update("rain"), update("sst")]),
        ),
        (
            "schedule, twice a day",
            Event::Schedule { day: "2026-11-21".into() },
            state(),
            ledger(&[(update("ice"), Done), (update("rain"), Failed), (update("sst"), Active)]),
            ignored(Ignored::NotOurs),
        ),
        ("workflow_run", Event::TestEnded { head: sha('a') }, state(), ledger(&[]), vec![Action::Report { pull: 7, head: sha('a') }]),
        ("workflow_run of an old head", Event::TestEnded { head: sha('b') }, state(), ledger(&[]), ignored(Ignored::Outdated)),
        ("workflow_run, closed meanwhile", Event::TestEnded { head: sha('a') }, closed, ledger(&[]), ignored(Ignored::Outdated)),
        ("a test failed", Event::JobFailed(both[0].clone()), state(), ledger(&[]), vec![Action::Report { pull: 7, head: sha('a') }]),
        ("a bake failed", Event::JobFailed(bake('c', "ice")), state(), ledger(&[]), vec![Action::TellMaintainers { recipe: "ice".into() }]),
        ("an update failed", Event::JobFailed(update("ice")), state(), ledger(&[]), vec![Action::TellMaintainers { recipe: "ice".into() }]),
        ("talk", commented("nice /gristmill test", Role::Admin, 'a'), state(), ledger(&[]), ignored(Ignored::NotOurs)),
        ("test", commented("please\n/gristmill test", Role::Triage, 'a'), state(), ledger(&[]), accepted(start(&both))),
        ("test one", commented("/gristmill test sst", Role::Triage, 'a'), state(), ledger(&[]), accepted(start(&both[1..]))),
        (
            "test what is not changed",
            commented("/gristmill test rain", Role::Triage, 'a'),
            state(),
            ledger(&[]),
            refused(Reply::NoSuchRecipe(Some("rain".into()))),
        ),
        ("test nothing", commented("/gristmill test", Role::Triage, 'a'), nothing, ledger(&[]), refused(Reply::NoSuchRecipe(None))),
        (
            "test what runs",
            commented("/gristmill test", Role::Triage, 'a'),
            state(),
            ledger(&[(both[0].clone(), Active), (both[1].clone(), Active)]),
            refused(Reply::Explain),
        ),
        (
            "cancel",
            commented("/gristmill cancel", Role::Triage, 'a'),
            state(),
            ledger(&[(both[0].clone(), Active), (both[1].clone(), Done)]),
            accepted(vec![Action::Cancel(both[0].clone())]),
        ),
        ("cancel nothing", commented("/gristmill cancel", Role::Triage, 'a'), state(), ledger(&[]), refused(Reply::NothingToCancel)),
        (
            "retry",
            commented("/gristmill retry", Role::Triage, 'a'),
            state(),
            ledger(&[(both[0].clone(), Failed), (both[1].clone(), Done)]),
            accepted(start(&both[..1])),
        ),
        (
            "retry nothing",
            commented("/gristmill retry", Role::Triage, 'a'),
            state(),
            ledger(&[(both[0].clone(), Done)]),
            refused(Reply::NothingToRetry),
        ),
        ("run before the merge", commented("/gristmill run ice", Role::Admin, 'a'), state(), ledger(&[]), refused(Reply::NotMerged)),
        (
            "explain",
            commented("/gristmill explain", Role::Nobody, 'b'),
            state(),
            ledger(&[]),
            accepted(vec![Action::Reply { pull: 7, reply: Reply::Explain }]),
        ),
        (
            "help",
            commented("/gristmill", Role::Nobody, 'b'),
            state(),
            ledger(&[]),
            accepted(vec![Action::Reply { pull: 7, reply: Reply::Help }]),
        ),
        ("misspelt", commented("/gristmill tset", Role::Admin, 'a'), state(), ledger(&[]), refused(Reply::Unknown(Some(Command::Test)))),
        ("unknown", commented("/gristmill deploy", Role::Admin, 'a'), state(), ledger(&[]), refused(Reply::Unknown(None))),
        ("no id", commented("/gristmill test ../x", Role::Admin, 'a'), state(), ledger(&[]), refused(Reply::Unknown(Some(Command::Test)))),
    ];
    for (name, event, state, ledger, expected) in rows {
        assert_eq!(given(event, &state, &ledger), expected, "{name}");
    }
}

#[test]
fn t4_each_role_may_give_exactly_its_commands() {
    use Role::{Admin, Maintain, Nobody, Read, Triage, Write};
    let everyone = [Nobody, Read, Triage, Write, Maintain, Admin];
    let matrix =
        [(Command::Help, 6), (Command::Explain, 6), (Command::Test, 4), (Command::Cancel, 4), (Command::Retry, 4), (Command::Run, 2)];
    assert_eq!(matrix.len(), Command::ALL.len());
    for (command, allowed) in matrix {
        for (rank, role) in everyone.into_iter().enumerate() {
            let actions = given(commented(&format!("/gristmill {}", command.name()), role, 'a'), &state(), &ledger(&[]));
            let denied = actions.contains(&Action::Reply { pull: 7, reply: Reply::Denied { command, needs: command.needs() } });
            assert_eq!(denied, rank < everyone.len() - allowed, "{} by {role:?}", command.name());
            assert!(!denied || !actions.iter().any(|action| matches!(action, Action::Start(_) | Action::Cancel(_))));
        }
    }
}

#[test]
fn t5_a_command_is_for_the_head_it_was_written_at() {
    for command in ["test", "retry", "cancel"] {
        let jobs = ledger(&[(test('a', "ice"), Progress::Active), (test('b', "ice"), Progress::Failed)]);
        let actions = given(commented(&format!("/gristmill {command}"), Role::Admin, 'b'), &state(), &jobs);
        assert_eq!(actions, refused(Reply::HeadMoved), "{command}");
    }
    for short in ["", "abc123", "HEAD", "main", "refs/heads/main", &"A".repeat(40), &"a".repeat(41), "--upload-pack=x"] {
        assert!(short.parse::<Sha>().is_err(), "{short}");
    }
    assert!(sha('0').is_none() && !sha('1').is_none());
}

#[test]
fn t6_what_is_delivered_again_does_nothing() {
    let mut seen = ledger(&[]);
    seen.deliveries.insert("d1".into());
    for event in [
        pulled(PullAction::Opened, 'a'),
        Event::Push { branch: "main".into(), before: None, after: Some(sha('c')) },
        commented("/gristmill test", Role::Admin, 'a'),
    ] {
        assert_eq!(given(event, &state(), &seen), [Action::Ignore(Ignored::Redelivered)]);
    }
}

#[test]
fn t20_bots_are_not_answered() {
    let by = Actor { is_bot: true, role: Role::Admin };
    let event = Event::Comment(Asked { pull: 7, comment: 3, head: sha('a'), by, text: "/gristmill test".into() });
    assert_eq!(given(event, &state(), &ledger(&[])), [Action::Ignore(Ignored::Bot)]);
}

#[test]
fn t20_a_storm_of_events_starts_each_job_once() {
    let (state, mut ledger, mut started) = (state(), ledger(&[]), Vec::new());
    for number in 0..1000 {
        let event = match number % 4 {
            0 => pulled(PullAction::Synchronized, 'a'),
            1 => Event::Push { branch: "main".into(), before: None, after: Some(sha('b')) },
            2 => Event::Schedule { day: "2026-11-21".into() },
            _ => commented("/gristmill test", Role::Admin, 'a'),
        };
        // Every other one is a redelivery; the rest are new deliveries of the same thing.
        let delivery = Delivery { id: format!("d{}", if number % 8 < 4 { number } else { number - 4 }), event };
        for action in decide(&delivery, &state, &ledger) {
            if let Action::Start(job) = action {
                ledger.jobs.insert(job.clone(), Progress::Active);
                started.push(job);
            }
        }
        ledger.deliveries.insert(delivery.id);
    }
    started.sort();
    let mut expected =
        vec![test('a', "ice"), test('a', "sst"), bake('b', "ice"), bake('b', "sst"), update("ice"), update("rain"), update("sst")];
    expected.sort();
    assert_eq!(started, expected);
}

#[test]
fn only_lines_of_their_own_are_commands() {
    assert_eq!(parse("> /gristmill test\n`/gristmill run`\n/gristmillx"), Parsed::Nothing);
    assert_eq!(parse("  /gristmill   retry   ice \n/gristmill run"), Parsed::Command(Command::Retry, Some("ice".into())));
    assert_eq!(parse("/gristmill test a b"), Parsed::Unknown(Some(Command::Test)));
}
