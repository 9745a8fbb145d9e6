//! Our reading of LIKE is PostgreSQL's: asked of PostgreSQL itself, over thousands of cases.

use pointsman_patterns::{Kind, Pattern};
use pointsman_tests::TestDatabase;

/// Cases in one question.
const CASES: usize = 20_000;

/// A small generator of its own, so that a failure can be repeated: the same seed, the same cases.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).expect("31 bits") % sides
    }

    fn text(&mut self, alphabet: &[&str], longest: usize) -> String {
        (0..self.roll(longest + 1))
            .map(|_| alphabet[self.roll(alphabet.len())])
            .collect()
    }
}

#[tokio::test]
async fn like_is_read_as_postgres_reads_it() {
    let mut dice = Dice(57);
    let mut texts = vec![];
    let mut patterns = vec![];
    while texts.len() < CASES {
        let pattern = dice.text(&["a", "b", "%", "_", "\\", "ü", "-", "."], 6);
        // What we refuse is tested below: an empty pattern, and an escape of nothing.
        if Pattern::parse(Kind::Like, &pattern).is_ok() {
            patterns.push(pattern);
            texts.push(dice.text(&["a", "b", "%", "_", "\\", "ü", "-", ".", "\n"], 7));
        }
    }
    let mut db = TestDatabase::new().await.connect().await;
    let theirs: Vec<bool> = sqlx::query_scalar(
        "select t like p from unnest($1::text[], $2::text[]) with ordinality u (t, p, n) order by n",
    )
    .bind(&texts)
    .bind(&patterns)
    .fetch_all(&mut db)
    .await
    .expect("PostgreSQL reads every pattern that we read");
    let mut matches = 0;
    for ((text, pattern), theirs) in texts.iter().zip(&patterns).zip(theirs) {
        let ours = Pattern::parse(Kind::Like, pattern)
            .expect("read before")
            .is_match(text);
        assert_eq!(ours, theirs, "`{text}` like `{pattern}`");
        matches += usize::from(ours);
    }
    assert!(
        matches > CASES / 50,
        "only {matches} cases match: the generator finds nothing"
    );
}

#[tokio::test]
async fn an_escape_of_nothing_is_refused_by_both() {
    let mut db = TestDatabase::new().await.connect().await;
    let theirs = sqlx::query_scalar::<_, bool>("select 'ab' like $1")
        .bind("a\\")
        .fetch_one(&mut db)
        .await;
    assert!(theirs.is_err());
    assert!(Pattern::parse(Kind::Like, "a\\").is_err());
}
