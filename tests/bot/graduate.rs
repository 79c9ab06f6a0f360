//! A dataset leaves its staging repository: whole, with its authors, and from wherever it was stopped.

use std::fs;
use std::path::Path;

use gristmill::bot::feedstock::{Forge, GraduateError, Graduated, Graduation, Step, graduate, lint};

struct Staging {
    folder: tempfile::TempDir,
}

const RECIPE: &str = "schema: 1\nid: ice\ntitle: \"Sea \\\"ice\\\": a title\"\nlicense: CC0-1.0\nmaintainers: [ada, bob]\nproviders: [{name: NOAA, roles: [producer], url: \"https://noaa.test\"}]\ninputs: {files: [\"https://h.test/a.nc\"]}\n";

impl Staging {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let staging = Self { folder };
        let git = git2::Repository::init(staging.path()).unwrap();
        named(&git);
        staging.write("recipes/ice/recipe.yaml", RECIPE);
        staging.write("recipes/ice/extra/files.csv", "https://h.test/b.nc\n");
        staging.write("recipes/other/recipe.yaml", &RECIPE.replace("id: ice", "id: other"));
        commit(&git, "Bob <b>\n");
        staging
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("staging")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn wanted(&self, url: Option<&str>) -> Graduation {
        Graduation {
            id: "ice".into(),
            staging: self.path(),
            to: self.folder.path().join("ice-feedstock"),
            url: url.map(str::to_owned),
            forge: Forge::Github,
            binary: None,
        }
    }

    #[expect(clippy::unused_self, reason = "reads as what is done with it")]
    fn go(&self, wanted: &Graduation) -> Result<Graduated, GraduateError> {
        // The feedstock's repository must know who commits.
        let git = git2::Repository::open(&wanted.to).or_else(|_| git2::Repository::init(&wanted.to)).unwrap();
        named(&git);
        graduate(wanted, &mut |_| true)
    }
}

fn named(git: &git2::Repository) {
    let mut config = git.config().unwrap();
    config.set_str("user.name", "Ada").unwrap();
    config.set_str("user.email", "ada@example.org").unwrap();
}

fn commit(git: &git2::Repository, author: &str) -> git2::Oid {
    let mut index = git.index().unwrap();
    index.add_all(["*"], git2::IndexAddOption::DEFAULT, None).unwrap();
    index.write().unwrap();
    let tree = git.find_tree(index.write_tree().unwrap()).unwrap();
    let author =
        git2::Signature::now(author.trim(), "bob@example.org").or_else(|_| git2::Signature::now("Bob", "bob@example.org")).unwrap();
    let parent = git.head().ok().map(|head| head.peel_to_commit().unwrap());
    git.commit(Some("HEAD"), &author, &author, "x", &tree, &parent.iter().collect::<Vec<_>>()).unwrap()
}

/// Tree of a commit, as an id: equal if and only if every file is.
fn tree(repository: &Path, reference: &str) -> git2::Oid {
    git2::Repository::open(repository).unwrap().revparse_single(&format!("{reference}^{{tree}}")).unwrap().id()
}

#[test]
fn a_dataset_gets_its_own_repository_and_leaves_once_it_can_be_fetched() {
    let staging = Staging::new();
    let wanted = staging.wanted(None);
    let done = staging.go(&wanted).unwrap();
    assert_eq!((done.step, done.next.len()), (Step::Committed, 2));
    let found = lint(&wanted.to, jiff::civil::date(2026, 11, 21)).unwrap();
    assert_eq!((found.errors(), found.recipes.len()), (0, 1), "{found:#?}");
    let text = |path: &str| fs::read_to_string(wanted.to.join(path)).unwrap();
    assert_eq!(
        (text("recipes/ice/recipe.yaml"), text("recipes/ice/extra/files.csv")),
        (RECIPE.to_owned(), "https://h.test/b.nc\n".to_owned())
    );
    assert!(text("CODEOWNERS").contains("\n* @ada @bob\n") && text("feedstock/meta.yaml").contains("\"NOAA\""));
    let git = git2::Repository::open(&wanted.to).unwrap();
    let commit = git.head().unwrap().peel_to_commit().unwrap();
    let message = commit.message().unwrap();
    assert!(message.contains("Co-authored-by: Bob") && message.contains("Graduated-from: "), "{message}");
    assert!(git.statuses(None).unwrap().is_empty(), "nothing is left uncommitted");
    // The staging repository is untouched until the feedstock can be fetched.
    let before = tree(&staging.path(), "HEAD");
    let elsewhere = tempfile::tempdir().unwrap();
    git2::Repository::init_bare(elsewhere.path()).unwrap();
    let url = elsewhere.path().display().to_string();
    assert!(matches!(staging.go(&staging.wanted(Some(&url))), Err(GraduateError::Refused { .. })), "it was not pushed yet");
    let url = wanted.to.display().to_string();
    let done = staging.go(&staging.wanted(Some(&url))).unwrap();
    assert_eq!((done.step, done.warnings.len()), (Step::Left, 0));
    assert_eq!(tree(&staging.path(), "HEAD"), before);
    let repository = git2::Repository::open(staging.path()).unwrap();
    let branch = repository.revparse_single("graduate/ice^{tree}").unwrap().peel_to_tree().unwrap();
    assert!(branch.get_path(Path::new("recipes/ice")).is_err() && branch.get_path(Path::new("recipes/other/recipe.yaml")).is_ok());
    let row = branch.get_path(Path::new("recipes/GRADUATED.md")).unwrap();
    let row = String::from_utf8(repository.find_blob(row.id()).unwrap().content().to_vec()).unwrap();
    assert!(row.ends_with(&format!("| ice | {url} | {} |\n", commit.id())), "{row}");
    // Again: the same branch, not another commit of it; merged: nothing is left to do.
    let tip = repository.revparse_single("graduate/ice").unwrap().id();
    staging.go(&staging.wanted(Some(&url))).unwrap();
    assert_eq!(repository.revparse_single("graduate/ice").unwrap().id(), tip);
    let tip = repository.find_commit(tip).unwrap();
    repository.reset(tip.as_object(), git2::ResetType::Hard, None).unwrap();
    let done = staging.go(&staging.wanted(None)).unwrap();
    assert_eq!((done.step, done.next.len()), (Step::Left, 0));
}

#[test]
fn stopped_before_any_step_it_goes_on_to_the_same_end() {
    let whole = Staging::new();
    whole.go(&whole.wanted(None)).unwrap();
    let url = whole.wanted(None).to.display().to_string();
    whole.go(&whole.wanted(Some(&url))).unwrap();
    let mut stops = 0;
    for stop in 0.. {
        let staging = Staging::new();
        let wanted = staging.wanted(None);
        let url = wanted.to.display().to_string();
        // Named before anything is there, so that the first stop is before the repository.
        let mut asked = 0;
        let mut leave = |_: &str| {
            asked += 1;
            asked != stop + 1
        };
        let first = graduate(&wanted, &mut leave).and_then(|_| graduate(&staging.wanted(Some(&url)), &mut leave));
        let was_stopped = matches!(first, Err(GraduateError::Stopped));
        staging.go(&wanted).unwrap();
        staging.go(&staging.wanted(Some(&url))).unwrap();
        assert_eq!(tree(&wanted.to, "HEAD"), tree(&whole.wanted(None).to, "HEAD"), "stopped before step {stop}");
        let git = git2::Repository::open(&wanted.to).unwrap();
        assert!(git.statuses(None).unwrap().is_empty(), "stopped before step {stop}");
        if !was_stopped {
            break;
        }
        stops += 1;
    }
    assert!(stops > 12, "only {stops} steps");
}

#[test]
fn what_is_there_is_not_overwritten_and_what_went_on_is_left() {
    let staging = Staging::new();
    let wanted = staging.wanted(None);
    fs::create_dir_all(wanted.to.join("recipes/ice")).unwrap();
    fs::write(wanted.to.join("recipes/ice/recipe.yaml"), "mine").unwrap();
    fs::write(wanted.to.join("LICENSE"), "mine").unwrap();
    assert!(matches!(staging.go(&wanted), Err(GraduateError::Conflict { .. })));
    fs::remove_file(wanted.to.join("recipes/ice/recipe.yaml")).unwrap();
    staging.go(&wanted).unwrap();
    assert_eq!(fs::read_to_string(wanted.to.join("LICENSE")).unwrap(), "mine");
    // The feedstock goes on by itself: running it again takes nothing back.
    fs::write(wanted.to.join("recipes/ice/recipe.yaml"), RECIPE.replace("a title", "better")).unwrap();
    let head = commit(&git2::Repository::open(&wanted.to).unwrap(), "Ada");
    staging.go(&wanted).unwrap();
    assert_eq!(git2::Repository::open(&wanted.to).unwrap().head().unwrap().target(), Some(head));
}

#[test]
fn only_plain_recipes_with_maintainers_graduate() {
    let refused = |staging: &Staging, wanted: &Graduation| assert!(matches!(staging.go(wanted), Err(GraduateError::Refused { .. })));
    let staging = Staging::new();
    refused(&staging, &Graduation { id: "none".into(), ..staging.wanted(None) });
    refused(&staging, &Graduation { id: "../up".into(), ..staging.wanted(None) });
    refused(&staging, &Graduation { url: Some("https://h.test/a | b".into()), ..staging.wanted(None) });
    staging.write("recipes/other/recipe.yaml", &RECIPE.replace("id: ice", "id: other").replace("maintainers: [ada, bob]\n", ""));
    std::os::unix::fs::symlink("/etc/passwd", staging.path().join("recipes/ice/link")).unwrap();
    commit(&git2::Repository::open(staging.path()).unwrap(), "Ada");
    let other = tempfile::tempdir().unwrap();
    refused(&staging, &Graduation { id: "other".into(), to: other.path().join("x"), ..staging.wanted(None) });
    refused(&staging, &Graduation { to: other.path().join("y"), ..staging.wanted(None) });
}
