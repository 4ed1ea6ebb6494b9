//! Words of a command line: a command, numbers, flags, `key=value` options.

/// The words as they came; each model reads what it knows.
#[derive(Clone, Debug)]
pub struct Args(Vec<String>);

impl Args {
    pub fn of_process() -> Self {
        Self(std::env::args().skip(1).collect())
    }

    pub fn of_line(line: &str) -> Self {
        Self(line.split_whitespace().map(str::to_string).collect())
    }

    pub fn command(&self) -> &str {
        self.0.first().map_or("", String::as_str)
    }

    /// The word at this place after the command, a number.
    pub fn number(&self, place: usize) -> usize {
        let word = self.0.get(place).map_or("", String::as_str);
        word.parse()
            .unwrap_or_else(|_| panic!("word {place} is a number, not {word:?}"))
    }

    pub fn has(&self, flag: &str) -> bool {
        self.0.iter().any(|word| word == flag)
    }

    pub fn option(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    pub fn option_number(&self, key: &str) -> Option<usize> {
        self.option(key)
            .map(|text| text.parse().expect("an option's value is a number"))
    }

    /// Names of the mutations that are switched on.
    pub fn mutations(&self) -> impl Iterator<Item = &str> {
        self.option("mut")
            .into_iter()
            .flat_map(|names| names.split(','))
    }

    /// How long a search may take.
    pub fn seconds(&self) -> u64 {
        self.option_number("minutes")
            .map_or(840, |minutes| minutes as u64 * 60)
    }

    /// How many states a search may hold.
    pub fn states(&self) -> usize {
        self.option_number("states").unwrap_or(250_000_000)
    }
}

/// A set of switches, all off, each with a doc comment and the name that `mut=` takes.
#[macro_export]
macro_rules! mutations {
    ($(#[$outer:meta])* $set:ident { $($(#[$doc:meta])* $name:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Default, Debug)]
        pub struct $set { $($(#[$doc])* pub $name: bool,)* }
        impl $set {
            pub fn new(args: &$crate::args::Args) -> Self {
                let mut set = Self::default();
                for name in args.mutations() {
                    match name {
                        $(stringify!($name) => set.$name = true,)*
                        other => panic!("no mutation {other:?}"),
                    }
                }
                set
            }
        }
    };
}
